"""What every command says about itself."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

from espnet_plugin import bin as commands

NAMES = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
NAMES.remove("speechclip_train")  # ESPnet makes its parser


@pytest.mark.parametrize("name", NAMES)
def test_help_says_a_whole_sentence(name: str) -> None:
    parser = importlib.import_module(f"espnet_plugin.bin.{name}").get_parser()
    assert parser.description.rstrip().endswith("."), parser.description
