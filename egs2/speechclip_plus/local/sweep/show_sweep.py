"""Compare runs of several systems over seeds: writes sweep.json and prints its page.

The list of runs has a line for each: system, seed and scores.json, separated by tabs; the arrays
beside scores.json are read, too. A system called <base>.<change> is an ablation of <base>. Run it
from the recipe's folder as python -m local.sweep.show_sweep; scripts/sweep.sh does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.utils.command import command_errors

from .report import sweep_report
from .runs import read_runs
from .summary import SWEEP_FILE, write_sweep


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--runs", help="list: system, seed, scores.json by tabs")
    parser.add_argument(
        "--output_dir", required=True, help=f"folder of {SWEEP_FILE}; without --runs it is shown"
    )
    return parser


@command_errors("show_sweep")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    if args.runs:
        sweep = write_sweep(read_runs(args.runs), args.output_dir)
    else:
        sweep = read_sweep(Path(args.output_dir) / SWEEP_FILE)
    sys.stdout.write(sweep_report(sweep))


def read_sweep(path: Path) -> dict:
    """Reads a sweep.json.

    Raises:
        ValueError: If it is missing, or holds something else.
    """
    try:
        sweep = json.loads(path.read_text(encoding="utf-8"))
        sweep["set"], sweep["systems"], sweep["counts"], sweep["comparisons"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a sweep.json of scripts/sweep.sh: {error!r}") from error
    return sweep


if __name__ == "__main__":
    main()
