"""Measures what the documentation claims about speed, and writes docs/benchmarks.{json,md}.

A benchmark is a module of this package. Its function ``rows`` takes
:class:`~benchmarks.measure.Settings` and yields rows. ``SECONDS`` is about how long that takes on
one idle core. ``long_rows`` and ``LONG_SECONDS`` are for benchmarks that run only on demand.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import benchmarks
from benchmarks.measure import MINI, MissingInputError, Row, Settings
from benchmarks.results import machine, table, update

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.json"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Benchmark:
    """A benchmark; ``seconds`` is about how long it takes."""

    title: str
    rows: Callable[[Settings], Iterable[Row]]
    seconds: int
    long: bool


def find() -> dict[str, Benchmark]:
    """Finds all benchmarks, by name."""
    found = {}
    for name in sorted(info.name for info in pkgutil.iter_modules(benchmarks.__path__)):
        if name == "__main__":
            continue
        module = importlib.import_module(f"benchmarks.{name}")
        title = (module.__doc__ or "").splitlines()[0].rstrip(".")
        if hasattr(module, "rows"):
            found[name] = Benchmark(title, module.rows, module.SECONDS, long=False)
        if hasattr(module, "long_rows"):
            more = Benchmark(f"{title} (long)", module.long_rows, module.LONG_SECONDS, long=True)
            found[f"{name}_long"] = more
    return found


def measure(name: str, benchmark: Benchmark, settings: Settings, page: Path | None) -> None:
    """Runs a benchmark, updates the page after each row and prints the table."""
    started = time.monotonic()
    rows: list[Row] = []
    for row in benchmark.rows(settings):
        rows.append(row)
        if page:
            update(page, name, benchmark.title, machine(settings.threads), rows)
    seconds = time.monotonic() - started
    print(f"\n{benchmark.title} ({name}, {seconds:.0f} s)\n{table(rows)}", flush=True)


def get_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="run only these")
    parser.add_argument("--list", action="store_true", help="list benchmarks and their times")
    parser.add_argument("--long", action="store_true", help="also run the long ones")
    parser.add_argument("--quick", action="store_true", help="try each benchmark on tiny sizes")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch and NumPy; default 1")
    parser.add_argument("--output", type=Path, help=f"JSON file; default {PAGE}, none if --quick")
    parser.add_argument("--work_dir", type=Path, help="folder for a few GB of files")
    parser.add_argument("--mini", type=Path, default=MINI, help="the corpus of make demo")
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the benchmarks; if one fails, the others still run."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    if args.list:
        for name, benchmark in find().items():
            print(f"{name:22} {benchmark.title}: about {benchmark.seconds} s")
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
    chosen = args.only or [name for name in found if args.long or not found[name].long]
    page = args.output or (None if args.quick else PAGE)
    failed = []
    for name in chosen:
        with tempfile.TemporaryDirectory(dir=args.work_dir) as directory:
            settings = Settings(Path(directory), args.quick, args.threads, args.mini)
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
