"""Finds and compares the numbers that the reference implementation produced.

The fixtures are in the directory that ``SPEECHCLIP_FIXTURES`` names, by default ``shared/fixtures``
beside the repository. Files and cases are discovered by the kind that each file declares, so
more files of the same form are picked up.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECTORY = Path(os.environ.get("SPEECHCLIP_FIXTURES") or REPOSITORY.parent / "shared" / "fixtures")


@cache
def fixture_files(kind: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """(file name, content) of each fixture file of a kind, sorted by name."""
    found = []
    for path in sorted(DIRECTORY.rglob("*.pt")):
        content = _load(path)
        if content.get("kind") == kind:
            found.append((str(path.relative_to(DIRECTORY)), content))
    return tuple(found)


@cache
def _load(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


def cases(kind: str) -> list[Any]:
    """Parameters ``(file content, case)`` of a kind; one that skips when there is none."""
    parameters = [
        pytest.param(content, case, id=f"{name}:{case['name']}")
        for name, content in fixture_files(kind)
        for case in content["cases"]
    ]
    reason = f"no fixtures of kind {kind} in $SPEECHCLIP_FIXTURES or shared/fixtures"
    return parameters or [pytest.param(None, None, marks=pytest.mark.skip(reason=reason))]


def assert_close(ours: Any, recorded: Any, case: Mapping[str, Any], what: str = "") -> None:
    """Asserts equality within the case's tolerances."""
    recorded = torch.as_tensor(recorded)
    ours = torch.as_tensor(ours).detach().to(recorded.dtype)
    torch.testing.assert_close(
        ours, recorded, rtol=case["rtol"], atol=case["atol"], msg=lambda text: f"{what}: {text}"
    )


def assert_gradient_close(ours: Tensor | None, recorded: Tensor, what: str = "") -> None:
    """Asserts that a whole model's gradient is equal within 2e-3 of its largest entry."""
    ours = torch.zeros_like(recorded) if ours is None else ours
    difference = (ours - recorded).abs().max()
    limit = 2e-3 * recorded.abs().max() + 1e-5
    assert difference <= limit, f"{what}: gradient differs by {difference:.3g}, allowed {limit:.3g}"


def valid_slots(values: Tensor, lengths: Tensor) -> Tensor:
    """Entries of valid slots only, (valid slots, ...)."""
    mask = torch.arange(values.size(1))[None] < lengths[:, None]
    return values[mask]


def slot_entropy(similarities: Tensor) -> Tensor:
    """Mean entropy in nats of each slot's softmax over the table (slots,), which the original logs.

    Args:
        similarities: (batch, slots, rows).
    """
    probabilities = similarities.softmax(dim=-1)
    return -(probabilities * torch.log(probabilities + 1e-9)).sum(dim=-1).mean(dim=0)
