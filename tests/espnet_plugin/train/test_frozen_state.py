from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from espnet_plugin.train.frozen_state import leave_out_of_broadcasts, leave_out_of_checkpoints
from tests.processes import run_ranks

FROZEN = ("running_mean", "running_var", "num_batches_tracked")


class Owner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.BatchNorm1d(2)
        self.trained = nn.Linear(2, 2)
        self.register_buffer("table", torch.zeros(2), persistent=False)
        self.register_buffer("counter", torch.zeros(2))
        leave_out_of_checkpoints(self, ["frozen."])
        leave_out_of_broadcasts(self)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.trained(inputs + self.table + self.counter)


@pytest.mark.parametrize("wrap", [False, True])
def test_frozen_parts_are_neither_saved_nor_missed(wrap: bool) -> None:
    module = nn.ModuleDict({"inner": Owner()}) if wrap else Owner()
    prefix = "inner." if wrap else ""
    state = module.state_dict()
    assert set(state) == {f"{prefix}trained.weight", f"{prefix}trained.bias", f"{prefix}counter"}
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
    del full["table"]
    target.load_state_dict(full)
    assert torch.equal(target.frozen.weight, source.frozen.weight)


def buffers_after_a_step(rank: int) -> dict[str, list[float]]:
    """In one of two processes whose buffers differ before the step."""
    owner = Owner()
    wrapped = nn.parallel.DistributedDataParallel(owner)
    with torch.no_grad():
        for buffer in owner.buffers():
            buffer.fill_(rank)
    wrapped(torch.ones(1, 2)).sum().backward()
    return {name: buffer.flatten().tolist() for name, buffer in owner.named_buffers()}


def test_only_what_changes_is_sent_to_the_other_ranks(tmp_path: Path) -> None:
    _, buffers = run_ranks(buffers_after_a_step, tmp_path)
    assert buffers.pop("counter") == [0, 0]  # rank 0's
    assert set(buffers) == {f"frozen.{n}" for n in FROZEN} | {"table"}
    assert all(set(values) == {1} for values in buffers.values())
