"""Kills every stage of the recipe again and again, and compares what it leaves in the end.

In each round every stage is started and killed (SIGKILL, all its processes) several times. Then it
runs to its end, and all results have to be those of a run that was never killed.
Which moments are tried follows from the seed and the number of the round.

    python -m tests.faults.kill_recipe --work /tmp/kills --rounds 4 --kills 8

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
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tests.faults import recipe as project
from tests.faults.kills import Moment, run_and_kill, targets
from tests.faults.results import differences, results
from tests.faults.warm_python import warm_python
from tests.faults.writes import Write, read_writes

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
    "recordings": "index of recordings",
}


@dataclass(frozen=True)
class Undisturbed:
    """What a stage does when nothing happens to it.

    Attributes:
        seconds: How long it takes.
        writes: What it writes.
        results: Of this stage and all before it.
    """

    seconds: float
    writes: list[Write]
    results: dict[str, Any]


@dataclass
class Harness:
    """Runs stages in copies of a project.

    Attributes:
        work: Folder for everything.
        python: What the recipe gets as ``--python``.
    """

    work: Path
    python: str = sys.executable

    def __post_init__(self) -> None:
        site = self.work / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text("from tests.faults.writes import watch\n\nwatch()\n")
        path = os.pathsep.join(map(str, (site, project.ROOT)))
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}

    def run(self, recipe: Path, stage: str, moment: Moment | None = None) -> int | None:
        """Runs a stage, to its end or to a moment: its exit code, or None when it was killed."""
        return run_and_kill(
            project.command(stage, self.python),
            moment or Moment(),
            folder=recipe,
            environment={**self.environment, "TMPDIR": str(recipe / project.TEMPORARY)},
            notes=recipe.parent,
        )

    def undisturbed(self, recipe: Path, stage: str) -> Undisturbed:
        """Runs a stage to its end.

        Raises:
            RuntimeError: It fails.
        """
        log = recipe.parent / "writes"
        log.write_text("")
        begin = time.monotonic()
        if self.run(recipe, stage) != 0:
            raise RuntimeError(f"stage {stage}:\n{_said(recipe)}")
        seconds, writes = time.monotonic() - begin, read_writes(log)
        logging.info(f"undisturbed: stage {stage}, {seconds:.1f} s, {len(writes)} writes")
        return Undisturbed(seconds, writes, results(recipe))

    def kill(
        self, recipe: Path, stage: str, wanted: Undisturbed, *, number: int, kills: int, seed: int
    ) -> None:
        """Kills a stage so many times, lets it end, and notes what is different then.

        Args:
            recipe: As the stages before have left it.
            stage: Which.
            wanted: What it does when nothing happens to it.
            number: Of the round; another one has other moments.
            kills: How many.
            seed: Of the moments.
        """
        (recipe.parent / "writes").write_text("")
        done = []
        for moment in moments(wanted, number, kills, f"{seed} {stage}"):
            code = self.run(recipe, stage, moment)
            if code is None:
                done.append(moment)
            elif code:
                break  # the next start ends so, too
        code = self.run(recipe, stage)
        row = {
            "seed": seed,
            "round": number,
            "stage": stage,
            "kills": [str(moment) for moment in done],
            "files": [Write(moment.kind).file for moment in done if moment.kind],
            "exit_code": code,
            "output": _said(recipe) if code else "",
            "different": [] if code else differences(results(recipe), wanted.results),
        }
        with (self.work / "kills.jsonl").open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        if not _as_undisturbed(row):
            logging.error(f"{row}; see {recipe}")

    def rows(self) -> list[dict[str, Any]]:
        """What was noted so far."""
        return [json.loads(line) for line in (self.work / "kills.jsonl").read_text().splitlines()]


def _copy(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target, symlinks=True))


def _said(recipe: Path) -> str:
    return (recipe.parent / "output").read_text()[-2000:]


def _as_undisturbed(row: dict[str, Any]) -> bool:
    return row["exit_code"] == 0 and not row["different"]


def moments(wanted: Undisturbed, number: int, kills: int, seed: str) -> list[Moment]:
    """The moments of a round, those early in the work of the stage first: it resumes where it was
    killed. A quarter comes at any time, the others at the writes whose turn it is."""
    at_any_time = -(-kills // 4) if wanted.writes else kills
    at_writes = kills - at_any_time
    dealt = targets(wanted.writes, random.Random(seed))
    chosen = list(islice(dealt, number * at_writes, (number + 1) * at_writes))
    chance = random.Random(f"{seed} {number}")
    shares = [chance.random() for _ in range(at_any_time)]
    chosen += [Moment(share, seconds=share * wanted.seconds) for share in shares]
    return sorted(chosen, key=lambda moment: moment.share)


def report(
    rows: list[dict[str, Any]], written: Mapping[str, Collection[str]]
) -> tuple[dict[str, Any], str]:
    """The counts by stage, and the same as a Markdown table.

    Args:
        rows: What was noted.
        written: Stage → the files that it writes.
    """
    stages: dict[str, dict[str, Any]] = {}
    for stage in (stage for stage in NAMES if stage in written):
        own = [row for row in rows if row["stage"] == stage]
        hits = Counter(file for row in own for file in row["files"])
        stages[stage] = {
            "kills": sum(len(row["kills"]) for row in own),
            "at_a_write": hits.total(),
            "files": len(written[stage]),
            "files_hit": len(hits),
            "ends": len(own),
            "ends_as_undisturbed": sum(map(_as_undisturbed, own)),
            "hits": dict(sorted(hits.items())),
        }
    total = {
        name: sum(counts[name] for counts in stages.values())
        for name in next(iter(stages.values()))
        if name != "hits"
    }
    lines = [
        "| stage | kills | of them at a write | files hit | results as undisturbed |",
        "|---|---|---|---|---|",
    ]
    for stage, counts in [*stages.items(), ("", total)]:
        number = f"{stage} " if stage.isdigit() else ""
        name = number + NAMES[stage] if stage else "all"
        files = f"{counts['files_hit']} of {counts['files']}"
        same = f"{counts['ends_as_undisturbed']} of {counts['ends']}"
        lines.append(f"| {name} | {counts['kills']} | {counts['at_a_write']} | {files} | {same} |")
    return {"stages": stages, "all": total}, "\n".join(lines) + "\n"


def main() -> None:
    """Runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="a new folder for everything")
    parser.add_argument("--rounds", type=int, default=5, help="how often each stage (5)")
    parser.add_argument("--first", type=int, default=0, help="number of the first round (0)")
    parser.add_argument("--kills", type=int, default=8, help="of each stage in a round (8)")
    parser.add_argument(
        "--stages", nargs="+", default=list(NAMES), help="1 to 10, index, recordings"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments (0)")
    parser.add_argument("--jobs", type=int, default=2, help="stages at a time (2)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no new stage after")
    parser.add_argument("--cold", action="store_true", help="start a new Python for every command")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    work = args.work.resolve()
    work.mkdir(parents=True)
    harness, deadline = Harness(work), time.monotonic() + args.seconds
    with (
        nullcontext(sys.executable)
        if args.cold
        else warm_python(work / "warm", harness.environment)
    ) as python:
        harness.python = str(python)
        recipe = project.make_project(work / "undisturbed", corpus=work / "shared" / "corpus")
        written = {}

        def one(number: int, stage: str, wanted: Undisturbed) -> None:
            if time.monotonic() > deadline:
                return
            copy = _copy(work / f"before-{stage}", work / f"{stage}-{number}")
            place = copy / recipe.relative_to(work / "undisturbed")
            harness.kill(place, stage, wanted, number=number, kills=args.kills, seed=args.seed)

        with ThreadPoolExecutor(args.jobs) as pool:
            tried = []
            for stage in args.stages:
                _copy(work / "undisturbed", work / f"before-{stage}")
                wanted = harness.undisturbed(recipe, stage)
                written[stage] = {write.file for write in wanted.writes}
                for number in range(args.first, args.first + args.rounds):
                    tried.append(pool.submit(one, number, stage, wanted))
            try:
                for future in tried:
                    future.result()
            except KeyboardInterrupt:
                logging.warning("interrupted: what is running ends first")
                pool.shutdown(cancel_futures=True)
    counts, table = report(harness.rows(), written)
    (work / "report.json").write_text(json.dumps(counts, indent=2) + "\n")
    (work / "report.md").write_text(table)
    print(table, end="")
    if counts["all"]["ends"] > counts["all"]["ends_as_undisturbed"]:
        sys.exit(f"kill_recipe: some results are not those of an undisturbed run; see {work}")


if __name__ == "__main__":
    main()
