"""What every command says about itself, and how little it imports for that."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

from espnet_plugin import bin as commands

NAMES = sorted(module.name for module in pkgutil.iter_modules(commands.__path__))
NAMES.remove("speechclip_train")  # ESPnet makes its parser
HEAVY = ("torch", "open_clip", "transformers", "espnet2.tasks", "s3prl.hub", "nltk", "g2p_en")


@pytest.mark.parametrize("name", NAMES)
def test_help_says_a_whole_sentence(name: str) -> None:
    parser = importlib.import_module(f"espnet_plugin.bin.{name}").get_parser()
    assert parser.description.rstrip().endswith("."), parser.description


@pytest.mark.slow
def test_help_imports_no_torch() -> None:
    programs = [f"espnet_plugin.bin.{name}" for name in NAMES]
    programs += [f"s3prl_upstream.{name}" for name in ("run_downstream", "superb")]
    code = f"""
import contextlib, runpy, sys
for program in {programs!r}:
    sys.argv = [program, "--help"]
    with contextlib.suppress(SystemExit):
        runpy.run_module(program, run_name="__main__")
print("heavy:", *[name for name in {HEAVY!r} if name in sys.modules])
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.stdout.splitlines()[-1] == "heavy:", process.stderr
