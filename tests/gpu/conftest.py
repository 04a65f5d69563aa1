"""Shared by the tests on a GPU; TEST_DEVICE=cpu tries them on any machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.espnet_plugin.conftest import model_arguments, tiny_corpus  # noqa: F401

DEVICE = os.environ.get("TEST_DEVICE", "cuda")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests of this folder without a GPU."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("gpu")
            if DEVICE == "cuda" and not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="no GPU"))


@pytest.fixture
def device() -> str:
    """The device of the tests."""
    return DEVICE
