"""A device that is not there is named, with those that are."""

from __future__ import annotations

import pytest
import torch

from espnet_plugin.utils.device import torch_device


def test_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_device("cpu") == torch_device(torch.device("cpu")) == "cpu"
    for available, expected in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda answer=available: answer)
        assert torch_device(None) == expected


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "cpu:x", ""])
def test_others_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    expected = f"device '{name}': PyTorch cannot use it here; choose from cpu, cuda, cuda:0, cuda:1"
    with pytest.raises(ValueError, match=f"^{expected}$"):
        torch_device(name)
