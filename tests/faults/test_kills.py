"""A few kills of the stages that start quickly; ``make faults`` kills all of them, for long."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.faults.kill_recipe import Harness, report
from tests.faults.kills import Moment, run_and_kill
from tests.faults.recipe import make_project
from tests.faults.results import differences

WRITER = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
open("pid", "w").write(str(worker.pid))
time.sleep(0.2)
open(".result.1.part", "w").write("half")
time.sleep(0.3)
os.replace(".result.1.part", "result")
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("sibling", "left"), [(True, {".result.1.part"}), (False, {"result"})], ids=["beside", "itself"]
)
def test_a_kill_comes_when_a_file_appears_and_leaves_no_process(
    tmp_path: Path, sibling: bool, left: set[str]
) -> None:
    moment = Moment("result", sibling, 0.0, 30.0)
    ended = run_and_kill(
        [sys.executable, "-c", WRITER],
        moment,
        folder=tmp_path,
        environment={},
        output=tmp_path / "o",
    )
    assert ended.code is None and ended.killed.endswith("result appeared")
    assert {path.name for path in tmp_path.iterdir()} == left | {"pid", "o"}
    worker = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    assert not worker.exists() or worker.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_file_that_does_not_appear_is_not_waited_for(tmp_path: Path) -> None:
    moment = Moment("nothing", False, 0.0, 0.1)
    ended = run_and_kill(
        ["sleep", "60"], moment, folder=tmp_path, environment={}, output=tmp_path / "o"
    )
    assert ended.killed == "0.10 s after the start"


@pytest.mark.slow
def test_stages_of_the_data_end_as_if_they_had_not_been_killed(tmp_path: Path) -> None:
    start = make_project(tmp_path / "start", models=False)
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "start", again, symlinks=True)
    harness = Harness(tmp_path)
    expected = {stage: harness.undisturbed(start, stage) for stage in ("1", "2", "3")}
    recipe = again / start.relative_to(tmp_path / "start")
    harness.kill_round(0, recipe, expected, seed=0, kills=2)
    rows = harness.rows()
    counts, table = report(rows)
    assert counts["all"]["ends_as_undisturbed"] == 3, rows
    assert "| 2 formatting of recordings |" in table


def test_what_is_different_is_told() -> None:
    found = {"same": "1", "another": "1", "more": "1"}
    assert differences(found, {"same": "1", "another": "2", "less": "1"}) == [
        "another: another",
        "less: missing",
        "more: left over",
    ]
