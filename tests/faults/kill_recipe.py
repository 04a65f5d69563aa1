"""Kills every stage of the recipe again and again, and compares what it leaves in the end.

Each round starts from nothing. Every stage is started and killed (SIGKILL, all its processes)
several times and then left to run to its end, after which all results have to be those of a run
that was never killed. Which moments are tried follows from the seed and the number of the round.

    python -m tests.faults.kill_recipe --work /tmp/kills --rounds 8 --kills 6

Writes kills.jsonl as it goes, and report.json and report.md at the end.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import shutil
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from tests.faults import recipe as project
from tests.faults.kills import Ended, Moment, choose_moments, run_and_kill
from tests.faults.results import differences, made_files, results
from tests.faults.warm_python import warm_python

NAMES = {
    "1": "data preparation",
    "2": "formatting of recordings",
    "3": "check and filter",
    "4": "image embeddings",
    "5": "keyword vocabulary",
    "6": "hidden states",
    "7": "training and averaging",
    "8": "inference",
    "9": "scoring and report",
    "10": "packing",
    "index": "index of pictures",
}


@dataclass(frozen=True)
class Undisturbed:
    """What a stage does when nothing happens to it.

    Attributes:
        seconds: How long it takes.
        written: The files that it writes, in the order in which they are finished.
        results: Of this stage and all before it.
    """

    seconds: float
    written: list[str]
    results: dict[str, str]


@dataclass
class Harness:
    """Runs stages in copies of a project.

    Attributes:
        work: Folder for everything.
        python: What the recipe gets as ``--python``.
        forked: sessions/ of ``warm_python``.
        deadline: No stage is started after this time (of ``time.monotonic``).
    """

    work: Path
    python: str = sys.executable
    forked: Path | None = None
    deadline: float = float("inf")
    _lock: Lock = field(default_factory=Lock)

    def run(self, recipe: Path, stage: str, moment: Moment | None = None) -> Ended:
        """Runs a stage, to its end or to a moment."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project.ROOT)}
        return run_and_kill(
            project.command(stage, self.python),
            moment,
            folder=recipe,
            environment=environment,
            output=self.output(recipe),
            forked=self.forked,
        )

    def output(self, recipe: Path) -> Path:
        """What the last stage printed."""
        return recipe.parent / "output"

    def undisturbed(self, recipe: Path, stage: str) -> Undisturbed:
        """Runs a stage to its end.

        Raises:
            RuntimeError: It fails.
        """
        before = {name: (recipe / name).lstat().st_mtime_ns for name in made_files(recipe)}
        begin = time.monotonic()
        if self.run(recipe, stage).code != 0:
            raise RuntimeError(f"stage {stage}:\n{self.output(recipe).read_text()[-3000:]}")
        seconds = time.monotonic() - begin
        written = [
            name
            for name in made_files(recipe)
            if "tensorboard" not in name  # names with the time in them do not come again
            and before.get(name) != (recipe / name).lstat().st_mtime_ns
        ]
        logging.info(f"undisturbed: stage {stage}, {seconds:.1f} s, {len(written)} files")
        written.sort(key=lambda name: (recipe / name).lstat().st_mtime_ns)
        return Undisturbed(seconds, written, results(recipe))

    def kill_round(
        self,
        number: int,
        recipe: Path,
        expected: Mapping[str, Undisturbed],
        *,
        seed: int,
        kills: int,
    ) -> None:
        """Kills each stage so many times, lets it end, and notes what is different then."""
        for stage, wanted in expected.items():
            if time.monotonic() > self.deadline:
                return
            chance = random.Random(f"{seed} {number} {stage}")
            moments = []
            for moment in choose_moments(chance, kills, wanted.written, wanted.seconds):
                ended = self.run(recipe, stage, moment)
                if ended.killed:
                    moments.append(ended.killed)
                elif ended.code:
                    break  # the next start ends so, too
            code = self.run(recipe, stage).code
            said = self.output(recipe).read_text()[-2000:] if code else ""
            different = [] if code else differences(results(recipe), wanted.results)
            row = {"seed": seed, "round": number, "stage": stage, "kills": moments}
            self._note({**row, "exit_code": code, "output": said, "different": different})
            if code or different:
                logging.error(
                    f"round {number}, stage {stage}: {said} {different[:20]}; see {recipe}"
                )
                return
        shutil.rmtree(recipe.parents[1])

    def rows(self) -> list[dict[str, Any]]:
        """What was noted so far."""
        return [json.loads(line) for line in (self.work / "kills.jsonl").read_text().splitlines()]

    def _note(self, row: dict[str, Any]) -> None:
        with self._lock, (self.work / "kills.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")


def report(rows: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The counts by stage, and the same as a Markdown table."""
    stages: dict[str, dict[str, Any]] = {}
    for row in rows:
        counts = stages.setdefault(
            row["stage"], {"kills": 0, "at_a_write": 0, "ends": 0, "ends_as_undisturbed": 0}
        )
        counts["kills"] += len(row["kills"])
        counts["at_a_write"] += sum("appeared" in moment for moment in row["kills"])
        counts["ends"] += 1
        counts["ends_as_undisturbed"] += row["exit_code"] == 0 and not row["different"]
    total = {
        name: sum(counts[name] for counts in stages.values())
        for name in next(iter(stages.values()))
    }
    lines = ["| stage | kills | of them at a write | results as undisturbed |", "|---|---|---|---|"]
    in_order = [(stage, stages[stage]) for stage in NAMES if stage in stages]
    for stage, counts in [*in_order, ("", total)]:
        name = f"{stage} {NAMES[stage]}".removeprefix("index ") if stage else "all"
        same = f"{counts['ends_as_undisturbed']} of {counts['ends']}"
        lines.append(f"| {name} | {counts['kills']} | {counts['at_a_write']} | {same} |")
    return {"stages": stages, "all": total}, "\n".join(lines) + "\n"


def main() -> None:
    """Runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a new folder for everything")
    parser.add_argument("--rounds", type=int, default=8, help="how often from the start (8)")
    parser.add_argument("--first", type=int, default=0, help="number of the first round (0)")
    parser.add_argument("--kills", type=int, default=6, help="of each stage in a round (6)")
    parser.add_argument("--stages", nargs="+", default=list(NAMES), help="1 to 10, index")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--jobs", type=int, default=2, help="rounds at a time (2)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no new stage after")
    parser.add_argument("--cold", action="store_true", help="start Python anew for every command")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    work = args.work.resolve()
    work.mkdir(parents=True)
    harness = Harness(work, deadline=time.monotonic() + args.seconds)
    with nullcontext() if args.cold else warm_python(work / "warm") as python:
        if python:
            harness.python, harness.forked = str(python), work / "warm" / "sessions"
        start = project.make_project(work / "start")

        def copy(name: str) -> Path:
            shutil.copytree(work / "start", work / name, symlinks=True)
            return work / name / start.relative_to(work / "start")

        undisturbed = copy("undisturbed")
        expected = {stage: harness.undisturbed(undisturbed, stage) for stage in args.stages}

        def one(number: int) -> None:
            recipe = copy(f"round{number}")
            harness.kill_round(number, recipe, expected, seed=args.seed, kills=args.kills)

        with ThreadPoolExecutor(args.jobs) as pool:
            try:
                list(pool.map(one, range(args.first, args.first + args.rounds)))
            except KeyboardInterrupt:
                logging.warning("interrupted: the stages that are running end first")
                harness.deadline = 0.0
    counts, table = report(harness.rows())
    (work / "report.json").write_text(json.dumps(counts, indent=2) + "\n")
    (work / "report.md").write_text(table)
    print(table, end="")
    if counts["all"]["ends"] > counts["all"]["ends_as_undisturbed"]:
        sys.exit(f"kill_recipe: some results are not those of an undisturbed run; see {work}")


if __name__ == "__main__":
    main()
