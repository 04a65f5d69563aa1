"""A spoken query from a cold start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from unittest import mock

from benchmarks.measure import MissingInputError, Row, Settings, Spread, usage_of

SECONDS = 40


def rows(settings: Settings) -> Iterator[Row]:
    """``speechclip search --wav`` with mini's model, beside importing PyTorch."""
    model = settings.mini.parents[1] / "exp" / "speechclip_mini_hybrid_plus"
    if not model.is_dir():
        raise MissingInputError(f"{model} is missing: run make demo")
    command = (sys.executable, "-m", "espnet_plugin.bin.speechclip")
    index = settings.work_dir / "images.index"
    wav = min((settings.mini / "wavs").glob("test*"))
    commands = {
        "ours": (*command, "search", "--index", index, "--wav", wav),
        "bound": (sys.executable, "-c", "import torch"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with mock.patch.dict(os.environ, SPEECHCLIP_CACHE=str(settings.work_dir / "cache")):
        usage_of([*command, "index", settings.mini / "images", "--model", model, "--index", index])
        for _ in range(2 if settings.quick else 4):  # the first reads the files from the disk
            for name, words in commands.items():
                times[name].append(usage_of(words, **quiet).cpu_seconds)
        spreads = {name: Spread.of(values[1:]) for name, values in times.items()}
        yield Row(
            "from voice to answer, mini's model and images", **spreads, bound_is="import torch"
        )
        if find_spec("onnxruntime"):
            usage_of([*command, "export", "--model", model, "--onnx", wav], **quiet)
            seconds = [usage_of(commands["ours"], **quiet).cpu_seconds for _ in times["ours"]]
            yield Row("the same after speechclip export --onnx", Spread.of(seconds[1:]))
