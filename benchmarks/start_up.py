"""Start-up: import, --help, first result, a spoken query."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from benchmarks.measure import Row, Settings, Spread, usage_of
from benchmarks.random_models import export_random_model

SECONDS = 80
RECIPE3 = Path(__file__).parents[1] / "egs3" / "speechclip_plus"
SAMPLES = "np.random.default_rng(0).standard_normal(64000).astype('float32') / 10"
ENCODER = """
import sys, numpy as np, torch
from transformers import HubertModel
model = HubertModel.from_pretrained(sys.argv[1] + "/encoder").eval()
with torch.no_grad():
    model(torch.from_numpy(%s)[None], output_hidden_states=True)
"""
OURS = """
import sys, numpy as np
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
SpeechCLIPInference.from_pretrained(sys.argv[1] + "/model")(%s)
"""


def rows(settings: Settings) -> Iterator[Row]:
    """Measures programs in their own processes."""
    turns = 1 if settings.quick else 3
    model, stored = "SpeechCLIPModel, build_speechclip", "load_speechclip, save_speechclip"
    python = (sys.executable, "-c")
    imports = {
        "ours": (*python, "import espnet_plugin.speechclip"),
        "all": (
            *python,
            f"from espnet_plugin.speechclip import {model}; "
            f"from espnet_plugin.pretrained import {stored}",
        ),
        "bound": (*python, "import torch"),
    }
    times = processor_seconds(imports, turns)
    torch = {"bound": times["bound"], "bound_is": "import torch"}
    yield Row("import espnet_plugin.speechclip", times["ours"], **torch)
    yield Row(f"the same and all its names ({model}, {stored})", times["all"], **torch)
    if settings.quick:
        return
    yield from slowest_help(turns)
    export_random_model("base", "hybrid+", settings.work_dir)
    programs = {"ours": OURS, "bound": ENCODER}
    times = processor_seconds(
        {
            name: (*python, code % SAMPLES, str(settings.work_dir))
            for name, code in programs.items()
        },
        turns,
    )
    yield Row(
        "first result of SpeechCLIPInference: hybrid+, HuBERT base, 4 s of speech",
        **times,
        bound_is="the encoder alone by transformers: import, load, forward",
    )
    if settings.mini is not None:
        yield from spoken_query(settings, turns)


def spoken_query(settings: Settings, turns: int) -> Iterator[Row]:
    """``speechclip search --wav`` from a cold start, with mini's model if it is trained."""
    assert settings.mini is not None
    model = settings.mini.parents[1] / "exp" / "speechclip_mini_hybrid_plus"
    if not model.is_dir():
        return
    command = (sys.executable, "-m", "espnet_plugin.bin.speechclip")
    index = settings.work_dir / "pictures.index"
    wav = min((settings.mini / "wavs").glob("test*"))
    pictures = settings.mini / "images"
    with mock.patch.dict(os.environ, SPEECHCLIP_CACHE=str(settings.work_dir / "cache")):
        usage_of([*command, "index", pictures, "--model", model, "--index", index])
        commands = {
            "ours": (*command, "search", "--index", str(index), "--wav", str(wav)),
            "bound": (sys.executable, "-c", "import torch"),
        }
        times = processor_seconds(commands, turns)
    yield Row("from voice to answer, mini's model and pictures", **times, bound_is="import torch")


def processor_seconds(commands: Mapping[str, Sequence[str]], turns: int) -> dict[str, Spread]:
    """Times each command in turn, after one call that fills the page cache."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            taken = usage_of(command, **quiet).cpu_seconds
            if turn or turns == 1:
                times[name].append(taken)
    return {name: Spread.of(values) for name, values in times.items()}


def slowest_help(turns: int) -> Iterator[Row]:
    """Finds the command with the slowest ``--help``."""
    import espnet_plugin.bin as commands

    programs = [
        f"espnet_plugin.bin.{module.name}" for module in pkgutil.iter_modules(commands.__path__)
    ]
    programs += [f"s3prl_upstream.{name}" for name in ("launch", "run_downstream", "superb")]
    calls = {program: ("-m", program) for program in programs}
    calls["egs3/speechclip_plus/run.py"] = (str(RECIPE3 / "run.py"),)
    times = processor_seconds(
        {name: (sys.executable, *call, "--help") for name, call in calls.items()}, turns
    )
    slowest = max(times, key=lambda program: times[program].median)
    yield Row(
        f"--help of the slowest of {len(calls)} commands",
        times[slowest],
        note=slowest,
    )
