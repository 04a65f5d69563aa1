"""Compare runs of several systems over seeds: SWEEP.md and sweep.json.

The list of runs has a line for each: system, seed and scores.json, separated by tabs; the arrays
beside scores.json are read, too. A system called <base>.<change> is an ablation of <base>. Run it
from the recipe's folder as python -m local.sweep.show_sweep; scripts/sweep.sh does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from espnet_plugin.utils.command import command_errors

from .page import write_sweep
from .runs import read_runs


def get_parser() -> argparse.ArgumentParser:
    """Returns the command's options."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--runs", required=True, help="list: system, seed, scores.json by tabs")
    parser.add_argument("--output_dir", required=True, help="where SWEEP.md goes")
    return parser


@command_errors("show_sweep")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command."""
    args = get_parser().parse_args(cmd)
    text = write_sweep(read_runs(args.runs), args.output_dir)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
