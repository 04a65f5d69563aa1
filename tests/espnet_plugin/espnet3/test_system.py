"""The system on a tiny corpus, with ESPnet3's own trainer, workers and metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from espnet_plugin.espnet3.system import SpeechCLIPSystem


def load_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture
def experiment(recipe, load_config, training_options) -> Path:
    """Two epochs of three updates."""
    SpeechCLIPSystem(training_config=load_config("training", training_options)).train()
    return recipe / "exp" / "a"


def test_a_training(experiment: Path) -> None:
    print(sorted(experiment.iterdir()))
    print(experiment.joinpath("config.yaml").read_text())
    state = load_checkpoint(experiment / "valid.recall_mean_at_1.ave.pth")
    print(state.keys())
    assert 0
