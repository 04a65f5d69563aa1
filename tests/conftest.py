"""What all tests share: an own cache, and the files' order on several processors."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# The files that run longest. A processor takes whole files, so these begin first.
LONGEST = (
    "tests/egs2/recipe/test_speechclip_sh.py",
    "tests/espnet_plugin/espnet3/test_system.py",
    "tests/docs/test_recipe_pages.py",
    "tests/espnet_plugin/tasks/test_speechclip.py",
    "tests/s3prl_upstream/test_programs.py",
    "tests/docs/test_tutorials.py",
    "tests/espnet_plugin/apps/demo/test_browser.py",
    "tests/docs/test_notebook.py",
    "tests/docs/test_database.py",
    "tests/egs2/recipe/test_processes.py",
)


@pytest.hookimpl(optionalhook=True)  # the wheel is tried without pytest-xdist
def pytest_xdist_auto_num_workers() -> int:
    """The processors that this process may use; pytest-xdist would count the machine's cores."""
    return len(os.sched_getaffinity(0))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the longest files first where several processes share them."""
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing of a test is kept in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHCLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
