"""A few kills of the stages that start quickly; ``make faults`` kills all of them, for long."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.faults.kill_recipe import Harness, report
from tests.faults.kills import Moment, run_and_kill, targets
from tests.faults.recipe import ROOT, make_project
from tests.faults.results import differences
from tests.faults.writes import Write, read_writes

WRITER = """
import os, sqlite3, subprocess, sys
from tests.faults.writes import watch
watch()
subprocess.Popen(["sleep", "60"], process_group=0)
part = f".result.{os.getpid()}.part"
with open(part, "wb") as stream:
    stream.write(bytes(1000))
    stream.write(bytes(1000))
os.replace(part, "result")
with sqlite3.connect("catalog") as database:
    database.execute("CREATE TABLE t (a)")
"""
KINDS = [
    "open .result.#.part",
    "rename result",
    "sql CREATE",
]


def run(folder: Path, moment: Moment, command: str = WRITER) -> tuple[bool, dict[str, int]]:
    """Whether it was killed, and the sizes of the files that it left."""
    (folder / "work").mkdir()
    code = run_and_kill(
        [sys.executable, "-c", command],
        moment,
        folder=folder / "work",
        environment={"PYTHONPATH": str(ROOT)},
        notes=folder,
    )
    left = {
        re.sub(r"\d+", "#", path.name): path.stat().st_size for path in (folder / "work").iterdir()
    }
    return code is None, left


def test_what_is_written_is_noted_under_names_that_come_again(tmp_path: Path) -> None:
    killed, left = run(tmp_path, Moment())
    assert not killed and left["result"] == 2000
    writes = read_writes(tmp_path / "writes")
    assert [write.kind for write in writes] == KINDS
    assert [write.size for write in writes] == [0, 2000, 0]
    assert [write.file for write in writes] == ["result", "result", "sql"]


@pytest.mark.parametrize(
    ("kind", "limit", "left"),
    [
        (KINDS[0], None, {}),
        (KINDS[0], 0, {".result.#.part": 0}),
        (KINDS[0], 1500, {".result.#.part": 1500}),
        (KINDS[1], None, {".result.#.part": 2000}),
        (KINDS[2], None, {"result": 2000, "catalog": 0}),
    ],
)
def test_a_kill_comes_at_the_write_and_leaves_no_process(
    kind: str, limit: int | None, left: dict[str, int], tmp_path: Path
) -> None:
    assert run(tmp_path, Moment(0.0, kind, 1, limit)) == (True, left)
    places = [
        os.readlink(path) for path in Path("/proc").glob("[0-9]*/cwd") if os.access(path, os.R_OK)
    ]
    assert str(tmp_path / "work") not in places


def test_a_kill_at_some_time_and_a_write_that_does_not_come(tmp_path: Path) -> None:
    assert run(tmp_path, Moment(0.0, seconds=0.2), "import time; time.sleep(60)") == (True, {})
    (tmp_path / "work").rmdir()
    killed, left = run(tmp_path, Moment(0.0, KINDS[1], 2))
    assert not killed and "result" in left


def test_every_file_has_its_turn() -> None:
    writes = [Write(f"open {name}", f"/{name}") for name in "abbc"]
    dealt = [moment for moment, _ in zip(targets(writes, random.Random(0)), range(9), strict=False)]
    for turn in (dealt[:3], dealt[3:6], dealt[6:]):
        assert {moment.kind for moment in turn} == {"open a", "open b", "open c"}
    assert {moment.occurrence for moment in dealt if moment.kind == "open b"} == {1, 2}


@pytest.mark.slow
def test_stages_of_the_data_end_as_if_they_had_not_been_killed(tmp_path: Path) -> None:
    corpus = tmp_path / "shared" / "corpus"
    recipe = make_project(tmp_path / "start", models=False, corpus=corpus)
    harness = Harness(tmp_path)
    written = {}
    for stage in ("1", "2", "3"):
        again = Path(shutil.copytree(tmp_path / "start", tmp_path / stage, symlinks=True))
        wanted = harness.undisturbed(recipe, stage)
        written[stage] = {write.file for write in wanted.writes}
        copy = again / recipe.relative_to(tmp_path / "start")
        harness.kill(copy, stage, wanted, number=0, kills=2, seed=0)
    rows = harness.rows()
    counts, table = report(rows, written)
    assert counts["all"]["ends_as_undisturbed"] == counts["all"]["at_a_write"] == 3, rows
    assert "| 2 formatting of recordings |" in table


def test_what_is_different_is_told() -> None:
    found = {"same": "1", "another": "1", "more": "1"}
    assert differences(found, {"same": "1", "another": "2", "less": "1"}) == [
        "another: another",
        "less: missing",
        "more: left over",
    ]
