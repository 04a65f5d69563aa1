from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from espnet_plugin.patches import weights_only_loading


def test_every_load_is_weights_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(tmp_path, tmp_path / "a.pth")  # a path is neither a tensor nor a plain value
    with weights_only_loading(), pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "a.pth", weights_only=False)
    assert torch.load(tmp_path / "a.pth", weights_only=False) == tmp_path
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"


def test_the_last_of_several_threads_resets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    first, second = ExitStack(), ExitStack()
    first.enter_context(weights_only_loading())
    second.enter_context(weights_only_loading())
    first.close()
    assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    second.close()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
