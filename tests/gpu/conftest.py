"""The device of these tests: a GPU where there is one, else the processor; TEST_DEVICE chooses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.espnet_plugin.conftest import model_arguments, tiny_corpus  # noqa: F401

DEVICE = os.environ.get("TEST_DEVICE", "cuda" if torch.cuda.is_available() else "cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("gpu")


@pytest.fixture
def device() -> str:
    """The device of the tests."""
    return DEVICE
