"""Conversion of released checkpoints: time and peak memory of a process of its own.

Given is a checkpoint that was downloaded, or a skeleton, which names its weights and their shapes;
a checkpoint is then made of it with random numbers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import GIB, MissingInputError, Row, Settings, Spread, usage_of

SECONDS = 60


def rows(settings: Settings) -> Iterator[Row]:
    """Every checkpoint."""
    if not settings.checkpoints:
        raise MissingInputError("name released checkpoints with --checkpoint FILE.ckpt")
    for given in settings.checkpoints:
        path = random_checkpoint(given, settings) if given.suffix == ".json" else given
        yield from convert(given.stem, path, settings.work_dir / given.stem)


def convert(name: str, path: Path, output: Path) -> Iterator[Row]:
    """Memory and time of converting one."""
    command = [sys.executable, "-m", "espnet_plugin.bin.convert_checkpoint", path, output]
    ours = usage_of(command, stdout=subprocess.DEVNULL)
    imports = usage_of([sys.executable, "-c", "import torch, transformers, open_clip"])
    size = path.stat().st_size
    note = f"the file has {size / GIB:.2f} GiB"
    yield Row(
        f"memory of converting {name}",
        Spread.of([ours.peak / GIB]),
        bound=Spread.of([(size + imports.peak) / GIB]),
        bound_is="the file and the imported libraries",
        unit="GiB",
        note=note,
    )
    yield Row(
        f"converting {name}",
        Spread.of([ours.cpu_seconds]),
        bound=Spread.of([imports.cpu_seconds]),
        bound_is="importing the libraries",
        note=note,
    )


def random_checkpoint(skeleton: Path, settings: Settings) -> Path:
    """A checkpoint as the authors' program leaves it."""
    from tests.released import plausible_config, random_weights, read_skeleton, write_lightning

    shrink = 8 if settings.quick else 1
    weights = random_weights(read_skeleton(skeleton), shrink=shrink)
    path = settings.work_dir / f"{skeleton.stem}.ckpt"
    write_lightning(path, weights, plausible_config(weights))
    return path
