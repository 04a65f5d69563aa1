"""Measures what the documentation claims about speed, and writes docs/benchmarks.{json,md}.

A benchmark is a module of this package. Its function ``rows`` takes
:class:`~benchmarks.measure.Settings` and yields rows. ``SECONDS`` is about how long that takes on
one idle core.

Example:
    python -m benchmarks
    python -m benchmarks --only search start_up
    python -m benchmarks --quick
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pkgutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.measure import MINI, MissingInputError, Row, Settings
from benchmarks.results import PAGE, machine, table, update

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def find() -> dict[str, Any]:
    """Imports all benchmarks; returns the modules by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(benchmarks.__path__))
    modules = {
        name: importlib.import_module(f"benchmarks.{name}") for name in names if name != "__main__"
    }
    return {name: module for name, module in modules.items() if hasattr(module, "rows")}


def title(module: Any) -> str:
    """The first line of a benchmark's docstring."""
    return module.__doc__.splitlines()[0].rstrip(".")


def measure(name: str, module: Any, settings: Settings, page: Path | None) -> None:
    """Runs a benchmark, updates the page after each row and prints the table."""
    started = time.monotonic()
    rows: list[Row] = []
    for row in module.rows(settings):
        rows.append(row)
        if page:
            update(page, name, title(module), machine(settings.threads), rows)
    seconds = time.monotonic() - started
    print(f"\n{title(module)} ({name}, {seconds:.0f} s)\n{table(rows)}", flush=True)


def get_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="run only these")
    parser.add_argument("--list", action="store_true", help="list benchmarks and their times")
    parser.add_argument("--quick", action="store_true", help="try each benchmark on tiny sizes")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch and NumPy; default 1")
    parser.add_argument("--output", type=Path, help=f"JSON file; default {PAGE}, none if --quick")
    parser.add_argument("--work_dir", type=Path, help="folder for a few GB of files")
    parser.add_argument("--vectors", type=int, default=1_000_000, help="that are searched")
    parser.add_argument("--mini", type=Path, default=MINI, help="the corpus of make demo")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the benchmarks; if one fails, the others still run."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if args.list:
        for name, module in find().items():
            print(f"{name:22} {title(module)}: about {module.SECONDS} s")
        return
    for variable in THREAD_VARIABLES:  # also for the processes started from here
        os.environ[variable] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    found = find()
    unknown = set(args.only) - found.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(found)}")
    logging.disable(logging.WARNING)  # libraries warn about random weights
    page = args.output or (None if args.quick else PAGE)
    failed = []
    for name in args.only or found:
        with tempfile.TemporaryDirectory(dir=args.work_dir) as directory:
            settings = Settings(Path(directory), args.quick, args.threads, args.mini, args.vectors)
            try:
                measure(name, found[name], settings, page)
            except MissingInputError as error:
                print(f"\n{name}: skipped, {error}")
            except Exception:
                traceback.print_exc()
                failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
