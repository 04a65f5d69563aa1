from __future__ import annotations

import pytest
import torch
from torch import nn

from espnet_plugin.train.frozen_state import leave_out_of_checkpoints


class Owner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(2)
        self.trained = nn.Linear(2, 2)
        leave_out_of_checkpoints(self, ["frozen."])


@pytest.mark.parametrize("wrap", [False, True])
def test_frozen_parts_are_neither_saved_nor_missed(wrap: bool) -> None:
    module = nn.ModuleDict({"inner": Owner()}) if wrap else Owner()
    prefix = "inner." if wrap else ""
    state = module.state_dict()
    assert set(state) == {f"{prefix}trained.weight", f"{prefix}trained.bias"}
    module.load_state_dict(state)  # strict


def test_other_missing_keys_are_still_errors() -> None:
    state = Owner().state_dict()
    del state["trained.bias"]
    with pytest.raises(RuntimeError, match="trained.bias"):
        Owner().load_state_dict(state)


def test_full_checkpoints_are_loaded_whole() -> None:
    source, target = Owner(), Owner()
    nn.init.constant_(source.frozen.weight, 3.0)
    full = {**dict(source.named_parameters()), **dict(source.named_buffers())}
    target.load_state_dict(full)
    assert torch.equal(target.frozen.weight, source.frozen.weight)
