from __future__ import annotations

from pathlib import Path

import pytest
import torch

from espnet_plugin.speechclip import build_speechclip, save_speechclip
from tests.tiny import tiny_hybrid_plus_config


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of both branches as ``save_speechclip`` writes it."""
    torch.manual_seed(1)
    config = tiny_hybrid_plus_config(tmp_path_factory.mktemp("teachers"))
    directory = tmp_path_factory.mktemp("exported") / "model"
    save_speechclip(build_speechclip(config).eval(), config, directory)
    return directory
