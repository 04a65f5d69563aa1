"""The real programs of s3prl and ESPnet, with tiny models: minutes on a busy machine."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

PROJECT = Path(__file__).parents[2]
STEPS = 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("s3prl") is None, reason="s3prl is not installed"),
]


def python(*arguments: object, cwd: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two intents as two tones, in Fluent Speech Commands' layout."""
    root = tmp_path_factory.mktemp("fluent")
    (root / "data").mkdir()
    for part in ("train", "valid", "test"):
        rows = [("", "path", "action", "object", "location")]
        for index in range(8):
            path = f"{part}_{index}.wav"
            tone = 0.3 * np.sin(np.arange(8000) * (0.05 + 0.2 * (index % 2)))
            soundfile.write(root / path, tone, 16000)
            rows.append((index, path, ("on", "off")[index % 2], "lights", "none"))
        with open(root / "data" / f"{part}_data.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows)
    return root


def options(commands: Path, steps: int) -> str:
    datarc = "config.downstream_expert.datarc"
    return ",,".join(
        [
            f"{datarc}.file_path={commands}",
            f"{datarc}.num_workers=0",
            f"{datarc}.train_batch_size=4",
            "config.optimizer.lr=1e-2",
            *(f"config.runner.{name}_step={steps}" for name in ("log", "eval", "save")),
            f"config.runner.total_steps={steps}",
        ]
    )


def test_run_downstream_trains_evaluates_and_fine_tunes(
    commands: Path, model_dir: Path, tmp_path: Path
) -> None:
    """s3prl's options only: no -c, no --device, from a directory that has nothing."""
    runner = ("-m", "s3prl_upstream.run_downstream", "-d", "fluent_commands")
    upstream = ("-u", "speechclip_plus", "-k", model_dir)
    printed = python(
        *runner, "-m", "train", *upstream, "-f", "-p", "exp", "-o", options(commands, STEPS),
        cwd=tmp_path,
    )  # fmt: skip
    assert "Take a list of 4 features" in printed
    import argparse

    import torch

    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(tmp_path / "exp" / f"states-{STEPS}.ckpt", weights_only=True)
    from s3prl_upstream.expert import UpstreamExpert

    before = UpstreamExpert(model_dir).state_dict()
    name = "model.speech_encoder.backend.model.encoder.layers.0.attention.q_proj.weight"
    assert not torch.equal(state["Upstream"][name], before[name])  # -f trained it
    assert not [key for key in state["Upstream"] if "tower" in key]
    printed = python(*runner, "-m", "evaluate", "-e", f"exp/states-{STEPS}.ckpt", cwd=tmp_path)
    assert "test acc:" in printed


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Path:
    """A directory like a recipe's: data, tokens, and the packed upstream."""
    root = tmp_path_factory.mktemp("recipe")
    (root / "data").mkdir()
    tables: dict[str, list[str]] = {"wav.scp": [], "text": [], "shape": []}
    rng = np.random.default_rng(0)
    for index in range(4):
        name = f"utt{index}"
        soundfile.write(root / "data" / f"{name}.wav", 0.1 * rng.standard_normal(9600), 16000)
        tables["wav.scp"].append(f"{name} data/{name}.wav")
        tables["text"].append(f"{name} {'ab' if index % 2 else 'b a'}")
        tables["shape"].append(f"{name} 9600")
    for table, lines in tables.items():
        (root / "data" / table).write_text("".join(f"{line}\n" for line in lines))
    (root / "data" / "tokens").write_text("<blank>\n<unk>\n<space>\na\nb\n<sos/eos>\n")
    shutil.copytree(model_dir, root / "upstream")
    return root


FRONT_END = "{frontend_conf: {upstream: speechclip_plus, path_or_url: upstream/model.safetensors}}"
LAUNCHER = ("-m", "s3prl_upstream.launch", "-m")


TRAINING = [
    "--frontend", "s3prl", "--frontend_conf", FRONT_END, "--output_dir", "asr",
    "--max_epoch", "1", "--num_workers", "0", "--ngpu", "0", "--batch_type", "unsorted",
    "--batch_size", "2", "--use_tensorboard", "false", "--use_matplotlib", "false",
    "--num_att_plot", "0", "--normalize", "utterance_mvn", "--token_type", "char",
    "--token_list", "data/tokens", "--encoder", "rnn",
    "--encoder_conf", "{num_layers: 1, hidden_size: 8, output_size: 8}",
    "--model_conf", "{ctc_weight: 1.0}",
]  # fmt: skip
for part in ("train", "valid"):
    for file in ("wav.scp,speech,sound", "text,text,text"):
        TRAINING += [f"--{part}_data_path_and_name_and_type", f"data/{file}"]
    TRAINING += [f"--{part}_shape_file", "data/shape"]


def test_espnet_asr_trains_decodes_and_is_packed(recipe: Path, tmp_path: Path) -> None:
    """Processes as asr.sh starts them, training as a job of a job; the packed model decodes in
    another directory, with the upstream from the archive. Other tasks: test_espnet_tasks.py.
    """
    python(
        *LAUNCHER, "espnet2.bin.launch", "--cmd", PROJECT / "egs2/speechclip_plus/utils/run.pl",
        "--log", "asr/train.log", "--ngpu", "0", "--init_file_prefix", "asr/.dist_init_",
        "--multiprocessing_distributed", "true", "--", sys.executable, *LAUNCHER,
        "espnet2.bin.asr_train", *TRAINING, cwd=recipe,
    )  # fmt: skip
    model = ("--asr_train_config", "asr/config.yaml", "--asr_model_file", "asr/valid.loss.best.pth")
    python(
        *LAUNCHER, "espnet2.bin.asr_inference", *model, "--output_dir", "decoded", "--ngpu", "0",
        "--data_path_and_name_and_type", "data/wav.scp,speech,sound", "--ctc_weight", "1.0",
        "--beam_size", "2", "--maxlenratio", "-3", "--num_workers", "0", cwd=recipe,
    )  # fmt: skip
    lines = (recipe / "decoded" / "1best_recog" / "text").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["utt0", "utt1", "utt2", "utt3"]
    python(
        "-m", "espnet2.bin.pack", "asr", *model, "--option", "upstream",
        "--outpath", tmp_path / "asr.zip", cwd=recipe,
    )  # fmt: skip
    code = """
import numpy, sys
from espnet2.bin.asr_inference import Speech2Text
from espnet2.main_funcs.pack_funcs import unpack
files = unpack("asr.zip", "unpacked")
recognise = Speech2Text(**files, ctc_weight=1.0, beam_size=2, maxlenratio=-3)
print("decoded", len(recognise(numpy.zeros(9600, "float32"))))
"""
    printed = python("-m", "s3prl_upstream.launch", "-c", code, cwd=tmp_path)
    assert printed.splitlines()[-1].startswith("decoded ")
