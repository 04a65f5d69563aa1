"""Measures what the documentation claims about speed, and writes docs/benchmarks.{json,md}.

A benchmark is a module of this package with a function ``rows``, which takes
:class:`~benchmarks.measure.Settings` and yields rows, and ``SECONDS``, about how long it takes on
one idle core; ``LONG = True`` leaves it out unless it is asked for.

Example:
    python -m benchmarks
    python -m benchmarks --only quantizer retrieval
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
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import benchmarks
from benchmarks.measure import MissingInputError, Settings

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "benchmarks.json"
MINI = ROOT / "egs2" / "speechclip_plus" / "downloads" / "mini"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def find() -> dict[str, ModuleType]:
    """All benchmarks by name."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    modules = {
        name: importlib.import_module(f"benchmarks.{name}") for name in names if name != "__main__"
    }
    return {name: module for name, module in modules.items() if hasattr(module, "rows")}


def title(module: ModuleType) -> str:
    """The first line of its docstring."""
    return (module.__doc__ or "").splitlines()[0].rstrip(".")


def measure(name: str, module: ModuleType, settings: Settings, page: Path | None) -> None:
    """Runs a benchmark, prints its table and brings the page up to date."""
    from benchmarks.results import machine, table, update

    started = time.monotonic()
    rows = list(module.rows(settings))
    print(f"\n{title(module)} ({name}, {time.monotonic() - started:.0f} s)\n{table(rows)}")
    if page:
        update(page, name, title(module), machine(settings.threads), rows)


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these alone")
    parser.add_argument("--list", action="store_true", help="say what there is and how long it is")
    parser.add_argument("--long", action="store_true", help="those of many minutes, too")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it work?")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch and NumPy; default 1")
    parser.add_argument("--output", type=Path, help=f"JSON file; default {PAGE}, none if --quick")
    parser.add_argument("--work_dir", type=Path, help="room for a few GB of files")
    parser.add_argument("--mini", type=Path, default=MINI, help="the corpus that make demo makes")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        default=[],
        help="released checkpoints (.ckpt) to convert, or skeletons of them (.json)",
    )
    return parser


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures; one that fails does not keep the others from being measured."""
    parser = get_parser()
    args = parser.parse_args(cmd)
    for variable in THREAD_VARIABLES:  # of the processes that are started, too
        os.environ[variable] = str(args.threads)
    import torch

    torch.set_num_threads(args.threads)
    found = find()
    unknown = set(args.only) - found.keys()
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found)}")
    if args.list:
        for name, module in found.items():
            mark = ", only with --long" if getattr(module, "LONG", False) else ""
            print(f"{name:16} {title(module)} (about {module.SECONDS} s{mark})")
        return
    logging.disable(logging.WARNING)  # random weights are told of everywhere
    chosen = args.only or [
        name for name, module in found.items() if args.long or not getattr(module, "LONG", False)
    ]
    page = args.output or (None if args.quick else PAGE)
    failed = []
    for name in chosen:
        with tempfile.TemporaryDirectory(dir=args.work_dir) as directory:
            settings = Settings(
                work_dir=Path(directory),
                quick=args.quick,
                threads=args.threads,
                mini=args.mini if args.mini.is_dir() else None,
                checkpoints=args.checkpoint,
            )
            try:
                measure(name, found[name], settings, page)
            except MissingInputError as error:
                print(f"\n{name}: left out, {error}")
            except Exception:
                logging.disable(logging.NOTSET)
                logging.exception(name)
                failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
