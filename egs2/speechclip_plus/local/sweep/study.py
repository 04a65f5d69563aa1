"""Compare trained models: write study.json and print its table; scripts/sweep.sh runs it."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from espnet_plugin.evaluation.report.tables import Table
from espnet_plugin.utils.command import command_errors

from .comparisons import compare, holm
from .runs import MEASURES, TRAINING_CPU, Run, read_runs, title_of

DECLARED = (  # docs/protocol.md, by their keys in study.json
    *("image first (keywords)", "image among ten (keywords)"),
    *("speech first (keywords)", "speech among ten (keywords)"),
    *("image first (utterance)", "image first (both)"),
    *("words found", "words right", "repeats", "boundary F, 50 ms"),
)


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--runs", required=True, help="list: system, seed, scores.json by tabs")
    parser.add_argument("--output_dir", required=True, help="folder of study.json")
    parser.add_argument("--measures", nargs="+", default=DECLARED, help="keys of study.json")
    return parser


@command_errors("study")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    if unknown := sorted(set(args.measures) - set(MEASURES)):
        raise ValueError(f"--measures: {unknown[0]} is none of {', '.join(MEASURES)}")
    study = summarize(read_runs(args.runs), args.measures)
    write_study(Path(args.output_dir) / "study.json", study)
    sys.stdout.write(study_table(study).markdown() + "\n")


def summarize(runs: Sequence[Run], measures: Sequence[str]) -> dict:
    """Collects the means of all systems, and compares each with another.

    A system called ``<base>.<change>`` is compared with ``<base>``, any other with the first one.

    Returns:
        ``set``: its ``name``, ``utterances`` and ``images``.
        ``systems.<system>.<measure>``: ``mean``, ``deviation`` (None for one run) and ``runs``.
        ``comparisons``: fields of ``Comparison``, not corrected for their number.
    """
    scores = runs[0].scores
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.system, []).append(run)
    first, *others = groups
    pairs = [(name, name.partition(".")[0] if "." in name else first) for name in others]
    return {
        "set": {"name": scores["test_set"], **{n: scores[n] for n in ("utterances", "images")}},
        "systems": {system: _means(group) for system, group in groups.items()},
        "comparisons": [asdict(c) for pair in pairs for c in compare(runs, *pair, measures)],
    }


def write_study(path: Path, study: Mapping) -> None:
    """Writes a study as JSON, a line for each number with its deviation, or each comparison."""
    exact = json.dumps(study)
    rounded = json.loads(exact, parse_float=lambda number: float(f"{float(number):.5g}"))
    text = json.dumps(rounded, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = re.sub(r"\{[^{}]*\}", lambda found: " ".join(found[0].split()), text)
    path.write_text(lines + "\n", encoding="utf-8")


def study_table(study: Mapping) -> Table:
    """One table of all means, with the comparisons of those that were compared, in % or s."""
    found = study["comparisons"]
    p_images = holm([c["p_images"] for c in found])
    p_runs = holm([1.0 if c["p_runs"] is None else c["p_runs"] for c in found])
    compared: dict[tuple[str, str], tuple[str, ...]] = {}
    for c, images, runs in zip(found, p_images, p_runs, strict=True):
        cells = (c["second"], f"{100 * c['difference']:+.1f}", f"{c['better']}/{c['runs']}")
        cells += (f"{images:.4f}", "–" if c["p_runs"] is None else f"{runs:.4f}")
        compared[c["first"], c["measure"]] = cells
    rows = [
        (system, title_of(key), _mean(key, numbers), *compared.get((system, key), ("–",) * 5))
        for system, measures in study["systems"].items()
        for key, numbers in measures.items()
    ]
    header = ("system", "measure", "mean", "against", "difference", "better in")
    return Table((*header, "p, images", "p, runs"), tuple(rows), text_columns=(0, 1, 3))


def _means(runs: Sequence[Run]) -> dict[str, dict]:
    columns: dict[str, list[float]] = {}
    for name, value in (number for run in runs for number in run.numbers.items()):
        columns.setdefault(name, []).append(value)
    return {
        name: {
            "mean": statistics.mean(column),
            "deviation": statistics.stdev(column) if len(column) > 1 else None,
            "runs": len(column),
        }
        for name, column in columns.items()
    }


def _mean(measure: str, numbers: Mapping) -> str:
    unit = 1 if measure == TRAINING_CPU else 100
    mean, deviation = f"{unit * numbers['mean']:.1f}", numbers["deviation"]
    return mean if deviation is None else f"{mean} ± {unit * deviation:.1f}"


if __name__ == "__main__":
    main()
