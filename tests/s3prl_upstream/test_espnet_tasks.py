"""ESPnet's own tasks on the front end: statistics, training, inference, score, a packed model.

One task of each kind, whose programs differ: words of an utterance (asr, as slu and st), speakers
of its frames (diar), one label of it (spk, as lid). Each is a recipe's stages, by the ``main`` of
ESPnet's own programs, on tones that stand for two words or speakers. What the launcher does to a
program's process: test_launch.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("s3prl") is None, reason="s3prl is not installed"),
]

PATCHES = Path(__file__).parents[2] / "docs" / "espnet_patches"
UTTERANCES = [f"utt{number}" for number in range(8)]
SAMPLES = 9600
FRONT_END = {
    "frontend": "s3prl",
    "frontend_conf": {
        "frontend_conf": {
            "upstream": "speechclip_plus",
            "path_or_url": "upstream/model.safetensors",
        },
        "multilayer_feature": True,
    },
}
TRAINING = {
    "max_epoch": 2,
    "optim": "adam",
    "optim_conf": {"lr": 0.01},
    "batch_type": "unsorted",
    "batch_size": 4,
    "keep_nbest_models": 1,
    "num_workers": 0,
    "use_tensorboard": False,
    "use_matplotlib": False,
    "num_att_plot": 0,
}
ENCODER = {
    "encoder": "transformer",
    "encoder_conf": {
        "input_layer": "linear",
        "output_size": 16,
        "attention_heads": 2,
        "linear_units": 16,
        "num_blocks": 1,
    },
}
RECOGNISER = {
    **ENCODER,
    "decoder": "rnn",
    "decoder_conf": {"num_layers": 1, "hidden_size": 16},
    "normalize": "utterance_mvn",
    "token_type": "word",
    "token_list": "data/tones/tokens",
    "model_conf": {"ctc_weight": 0.3, "extract_feats_in_collect_stats": False},
}
POOLED = {
    "encoder": "ecapa_tdnn",
    "encoder_conf": {"model_scale": 2, "ndim": 16, "output_size": 24},
    "pooling": "chn_attn_stat",
    "projector": "rawnet3",
    "projector_conf": {"output_size": 8},
    "loss": "aamsoftmax",
    "loss_conf": {"margin": 0.1, "scale": 15},
}


def write(path: Path, table: dict[str, object]) -> None:
    path.write_text("".join(f"{key} {value}\n" for key, value in table.items()))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, model_dir: Path) -> Path:
    """A recipe's folder: data/tones with the tables of all tasks, and the packed upstream."""
    root = tmp_path_factory.mktemp("recipe")
    data = root / "data" / "tones"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    group = {name: number % 2 for number, name in enumerate(UTTERANCES)}
    for name in UTTERANCES:
        tone = 0.3 * np.sin(np.arange(SAMPLES) * (0.05 + 0.2 * group[name]))
        soundfile.write(data / f"{name}.wav", tone + 0.01 * rng.standard_normal(SAMPLES), 16000)
    waves = {name: f"data/tones/{name}.wav" for name in UTTERANCES}
    write(data / "wav.scp", waves)
    write(data / "text", {name: ("low low", "high tone")[group[name]] for name in UTTERANCES})
    write(data / "utt2spk", {name: f"s{group[name]}" for name in UTTERANCES})
    by_group = [" ".join(name for name in UTTERANCES if group[name] == of) for of in (0, 1)]
    write(data / "spk2utt", {"s0": by_group[0], "s1": by_group[1]})
    pairs = [(a, b) for a, b in zip(UTTERANCES, [*UTTERANCES[2:], *UTTERANCES[1:3]], strict=True)]
    write(data / "trial.scp", {f"{a}*{b}": waves[a] for a, b in pairs})
    write(data / "trial2.scp", {f"{a}*{b}": waves[b] for a, b in pairs})
    write(data / "trial_label", {f"{a}*{b}": int(group[a] == group[b]) for a, b in pairs})
    rttm = []
    for name in UTTERANCES:  # both speak, one after the other and together in the middle
        rttm += [f"SPEAKER {name} 1 0 5600 <NA> <NA> s0 <NA>"]
        rttm += [f"SPEAKER {name} 1 4000 {SAMPLES - 1} <NA> <NA> s1 <NA>"]
        rttm += [f"END {name} <NA> <NA> {SAMPLES} <NA> <NA> <NA> <NA>"]
    (data / "espnet_rttm").write_text("".join(f"{line}\n" for line in rttm))
    (data / "tokens").write_text("<blank>\n<unk>\nhigh\nlow\ntone\n<sos/eos>\n")
    shutil.copytree(model_dir, root / "upstream")
    return root


@pytest.fixture(scope="module")
def launched() -> Iterator[None]:
    """What the launcher does in a program's process."""
    import s3prl_upstream
    from s3prl_upstream.patches import patch_espnet

    before = sys.modules.get("editdistance")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "meta_path", list(sys.meta_path))
        s3prl_upstream.register()
        patch_espnet()
        yield
    if before is None:
        sys.modules.pop("editdistance", None)


@pytest.fixture(autouse=True)
def in_the_recipe(recipe: Path, launched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recipe)


def program(name: str, *arguments: object) -> None:
    """``python -m espnet2.bin.NAME arguments``."""
    importlib.import_module(f"espnet2.bin.{name}").main(list(map(str, arguments)))


def patched(name: str, patch: str) -> ModuleType:
    """One of ESPnet's programs with one of docs/espnet_patches."""
    file = Path(f"{patch}/espnet2/bin/{name}.py")
    file.parent.mkdir(parents=True)
    shutil.copy(importlib.import_module(f"espnet2.bin.{name}").__file__, file)
    subprocess.run(["git", "apply", PATCHES / f"{patch}.patch"], cwd=patch, check=True)
    spec = importlib.util.spec_from_file_location(f"patched_{name}", file)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data_options(option: str, *files: str) -> list[str]:
    return [word for file in files for word in (option, f"data/tones/{file}")]


def train(
    task: str,
    options: dict[str, Any],
    files: list[str],
    *,
    valid_files: list[str] | None = None,
    stats: list[str] | None = None,
    stats_options: dict[str, Any] | None = None,
) -> dict[str, float]:
    """Statistics (a recipe's stage 10, or 4), then training; measures of the last epoch.

    Args:
        task: Name of the program without ``_train``.
        options: Of the training's configuration.
        files: Training data, ``file,name,type``.
        valid_files: Development data; None: the same.
        stats: Data of the statistics, training and development; None: as for training.
        stats_options: More options of the statistics.
    """
    config = Path(f"{task}.yaml")
    config.write_text(yaml.safe_dump({**FRONT_END, **TRAINING, **options}))
    valid_files = valid_files or files
    parts = {"train": files, "valid": valid_files}
    arguments = ["--config", config, "--collect_stats", "true", "--output_dir", f"{task}_jobs"]
    for number, (part, part_files) in enumerate(parts.items()):
        chosen = part_files if stats is None else [stats[number]]
        keys = f"data/tones/{chosen[0].split(',')[0]}"
        arguments += data_options(f"--{part}_data_path_and_name_and_type", *chosen)
        arguments += [f"--{part}_shape_file", keys]
    for name, value in (stats_options or {}).items():
        arguments += [f"--{name}", value]
    program(f"{task}_train", *arguments)
    program(
        "aggregate_stats_dirs", "--input_dir", f"{task}_jobs", "--output_dir", f"{task}_stats",
        "--skip_sum_stats",
    )  # fmt: skip
    arguments = ["--config", config, "--output_dir", task]
    for part, part_files in parts.items():
        arguments += data_options(f"--{part}_data_path_and_name_and_type", *part_files)
        arguments += [f"--{part}_shape_file", f"{task}_stats/{part}/speech_shape"]
    program(f"{task}_train", *arguments)
    reporter = torch.load(f"{task}/checkpoint.pth", weights_only=False)["reporter"]
    return reporter["stats"][TRAINING["max_epoch"]]["valid"]


def pack(task: str, prefix: str, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """The model with its upstream; from here on in a folder that has the archive and nothing else.

    Args:
        task: As the packer calls it.
        prefix: Of the packer's options.
        monkeypatch: Brings the test back.
        folder: Where ESPnet's model zoo keeps what it unpacks, too.
    """
    from espnet_model_zoo.downloader import ModelDownloader

    archive = folder / f"{task}.zip"
    options = {
        f"{prefix}train_config": f"{task}/config.yaml",
        f"{prefix}model_file": f"{task}/latest.pth",
        "option": "upstream",
        "outpath": str(archive),
    }
    program("pack", task, *(word for name in options for word in (f"--{name}", options[name])))
    monkeypatch.setattr(ModelDownloader.__init__, "__defaults__", (folder / "cache",))
    monkeypatch.chdir(folder)
    return archive


def wave(recipe: Path) -> np.ndarray:
    return soundfile.read(recipe / "data" / "tones" / "utt1.wav", dtype="float32")[0]


def test_asr(recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measures = train("asr", RECOGNISER, ["wav.scp,speech,sound", "text,text,text"])
    assert {"cer", "wer", "cer_ctc"} <= measures.keys()
    program(
        "asr_inference", "--asr_train_config", "asr/config.yaml", "--asr_model_file",
        "asr/latest.pth", "--output_dir", "decoded", "--ctc_weight", 0.3, "--beam_size", 2,
        *data_options("--data_path_and_name_and_type", "wav.scp,speech,sound"),
        "--maxlenratio", -3, "--num_workers", 0,
    )  # fmt: skip
    lines = Path("decoded/1best_recog/text").read_text().splitlines()
    decoded = {name: " ".join(words) for name, *words in map(str.split, lines)}
    assert list(decoded) == UTTERANCES
    archive = pack("asr", "asr_", monkeypatch, tmp_path)
    from espnet2.bin.asr_inference import Speech2Text

    recognise = Speech2Text.from_pretrained(
        str(archive), ctc_weight=0.3, beam_size=2, maxlenratio=-3
    )
    assert recognise(wave(recipe))[0][0] == decoded["utt1"]


@pytest.mark.skipif(importlib.util.find_spec("espnetez") is None, reason="ESPnet without EZ")
def test_asr_by_espnetez() -> None:
    from espnetez.config import from_yaml
    from espnetez.trainer import Trainer

    Path("ez.yaml").write_text(yaml.safe_dump({**FRONT_END, **TRAINING, **RECOGNISER}))
    trainer = Trainer(
        task="asr",
        train_config=from_yaml("asr", "ez.yaml"),
        output_dir="ez",
        stats_dir="ez_stats",
        train_dump_dir="data/tones",
        valid_dump_dir="data/tones",
        data_info={"speech": ("wav.scp", "sound"), "text": ("text", "text")},
        ngpu=0,
    )
    trainer.collect_stats()
    trainer.train()
    assert Path("ez/2epoch.pth").is_file()


def test_a_patch_lets_slu_be_packed() -> None:
    """Its other programs are asr's under other names."""
    options = ["slu", "--slu_train_config", "slu/config.yaml", "--outpath", "slu.zip"]
    with pytest.raises(SystemExit):  # there is no slu: the patch can go when there is
        program("pack", *options)
    assert patched("pack", "pack_slu").get_parser().parse_args(options).slu_model_file is None


def test_diar(recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measures = train(
        "diar",
        {
            **ENCODER, "num_spk": 2, "normalize": "utterance_mvn",
            "label_aggregator_conf": {"win_length": 320, "hop_length": 320},
            "model_conf": {"attractor_weight": 0.0},
        },
        ["wav.scp,speech,sound", "espnet_rttm,spk_labels,rttm"],
    )  # fmt: skip
    assert 0 <= measures["der"] <= 2
    options = [
        "--train_config", "diar/config.yaml", "--model_file", "diar/latest.pth", "--output_dir",
        "diarized", "--fs", "16k", "--num_spk", "2", "--num_workers", "0",
        *data_options("--data_path_and_name_and_type", "wav.scp,speech,sound"),
    ]  # fmt: skip
    with pytest.raises(AssertionError, match="NoneType"):  # the patch can go when it works
        program("diar_inference", *options)
    diar_inference = patched("diar_inference", "diar_inference")
    diar_inference.main(options)
    from espnet2.fileio.npy_scp import NpyScpReader

    activity = NpyScpReader("diarized/diarize.scp")
    assert list(activity) == UTTERANCES
    expected = activity["utt1"]
    assert expected.shape == (SAMPLES // 320, 2)
    archive = pack("diar", "", monkeypatch, tmp_path)
    diarize = diar_inference.DiarizeSpeech.from_pretrained(str(archive), num_spk=2)
    np.testing.assert_allclose(diarize(wave(recipe)[None])[0], expected, atol=1e-5)


def test_spk(recipe: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trials = ["trial.scp,speech,sound", "trial2.scp,speech2,sound", "trial_label,spk_labels,text"]
    crop = {"target_duration": 0.5, "num_eval": 2}
    measures = train(
        "spk",
        {
            **POOLED, "preprocessor_conf": {**crop, "noise_apply_prob": 0, "rir_apply_prob": 0},
            "spk2utt": "data/tones/spk2utt", "spk_num": 2,
        },
        ["wav.scp,speech,sound", "utt2spk,spk_labels,text"],
        valid_files=trials,
        stats=["wav.scp,speech,sound", "trial.scp,speech,sound"],
        stats_options={"use_preprocessor": "false"},
    )  # fmt: skip
    assert 0 <= measures["eer"] <= 100
    program(
        "spk_embed_extract", "--spk_train_config", "spk/config.yaml", "--output_dir", "spk",
        "--spk_model_file", "spk/latest.pth", "--shape_file", "spk_stats/valid/speech_shape",
        *data_options("--data_path_and_name_and_type", *trials), "--num_workers", 0,
        "--use_preprocessor", "true", "--valid_batch_size", 4, "--fold_length", SAMPLES,
        *(word for name, value in crop.items() for word in (f"--{name}", value)),
    )  # fmt: skip
    embeddings = np.load("spk/tones_embeddings.npz")
    assert sorted(embeddings) == UTTERANCES
    from espnet2.utils.eer import tuneThresholdfromScore

    labels = dict(map(str.split, Path("data/tones/trial_label").read_text().splitlines()))
    scores = [
        float(-np.linalg.norm(embeddings[a] - embeddings[b], axis=-1).mean())
        for a, b in (trial.split("*") for trial in labels)
    ]
    equal_errors = tuneThresholdfromScore(scores, list(map(int, labels.values())), [1, 0.1])[1]
    assert equal_errors == pytest.approx(measures["eer"])
    archive = pack("spk", "", monkeypatch, tmp_path)
    from espnet2.bin.spk_inference import Speech2Embedding

    embedding = Speech2Embedding.from_pretrained(str(archive))(wave(recipe))
    assert embedding.shape == (1, 8)
