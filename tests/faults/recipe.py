"""The whole recipe on twenty-four recordings of noise and tiny frozen models."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs2" / "speechclip_plus"
EXPERIMENT = "exp/speechclip_custom_corpus_tiny"
TEMPORARY = "tmp"
INDICES = {
    "index": ("pictures.index", "corpus/images"),
    "recordings": ("recordings.index", "corpus/talks"),
}

_WORDS = "a red dog runs over green grass while two children play ball near the water".split()
_TRAINING = {
    "keyword_extractor": "cif",
    "keyword_extractor_conf": {"frames_per_keyword": 4, "scaling_steps": 3, "dropout": 0.0},
    "attention_conf": {"num_heads": 2, "dropout": 0.0},
    "model_conf": {"parallel": True},
    "loss": "masked_contrastive",
    "optim": "adamw",
    "optim_conf": {"lr": 1.0e-3},
    "scheduler": "warmuplr",
    "scheduler_conf": {"warmup_steps": 4},
    "batch_size": 4,
    "valid_batch_size": 4,
    "num_workers": 1,
    "max_epoch": 3,
    "best_model_criterion": [["valid", "recall_mean_at_1", "max"]],
    "keep_nbest_models": 2,
    "use_matplotlib": False,
}


def make_corpus(root: Path) -> None:
    """Twelve pictures with two recordings each, the last four of dev and test; and six talks."""
    chance = np.random.default_rng(0)
    rows = ["wav\timage\tsplit\tspeaker\tcaption"]
    for name in ("wavs", "images", "talks"):
        (root / name).mkdir(parents=True)
    for image, split in enumerate(["train"] * 8 + ["dev", "dev", "test", "test"]):
        pixels = chance.integers(0, 255, (40, 48, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{image}.png")
        for n in range(2):
            wave = chance.normal(0, 0.1, int(chance.integers(5000, 16000)))
            wave = np.convolve(wave, np.full(4, 0.5))  # white noise would not pass for speech
            soundfile.write(root / "wavs" / f"{image}-{n}.wav", wave, 16000)
            caption = " ".join(chance.choice(_WORDS, 4))
            rows.append(f"{image}-{n}.wav\t{image}.png\t{split}\tAda\t{caption}")
    for n in range(6):
        waves = [chance.normal(0, 0.1, int(chance.integers(5000, 16000))) for _ in range(n + 1)]
        pauses = [np.zeros(12000)] * len(waves)
        parts = [part for pair in zip(pauses, waves, strict=True) for part in pair]
        soundfile.write(root / "talks" / f"{n}.flac", np.concatenate(parts), 16000)
    (root / "corpus.tsv").write_text("\n".join(rows) + "\n")


def make_project(root: Path, *, models: bool = True, corpus: Path | None = None) -> Path:
    """A project with the recipe in it, a corpus, frozen models and a configuration.

    Args:
        root: Folder of the project.
        models: Whether to make the frozen models.
        corpus: Folder ``corpus`` outside the project, to which the project has a link: the sets of
            a corpus name it by its absolute path, which copies of the project then share.

    Returns:
        The recipe's folder, from which everything is named by relative paths.
    """
    recipe = root / "egs2" / "speechclip_plus"
    recipe.mkdir(parents=True)
    (recipe / TEMPORARY).mkdir()
    for name in ("utils", "scripts", "conf", "local"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(RECIPE / name, recipe / name, symlinks=True, ignore=ignored)
    for name in ("run.sh", "speechclip.sh", "path.sh", "cmd.sh", "db.sh"):
        shutil.copy(RECIPE / name, recipe / name)
    (root / "espnet_plugin").symlink_to(ROOT / "espnet_plugin")
    make_corpus(corpus or recipe / "corpus")
    if corpus:
        (recipe / "corpus").symlink_to(corpus)
    (recipe / "conf" / "tiny.yaml").write_text(yaml.safe_dump(_TRAINING))
    if models:
        from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

        (recipe / "models").mkdir()
        tiny_hubert_dir(recipe / "models", name="hubert")
        tiny_clip_weights(recipe / "models", tiny_clip_config(recipe / "models"))
    return recipe


def command(stage: str, python: str) -> list[str]:
    """The call of one stage, by its number, or of an index by its name ("index", "recordings")."""
    if stage in INDICES:
        index, folder = INDICES[stage]
        model = ["--model", EXPERIMENT, "--index", index, "--batch_size", "2"]
        return [python, "-m", "espnet_plugin.bin.speechclip", "index", folder, *model]
    options = {
        "corpus": "custom",
        "custom_root": "corpus",
        "speechclip_config": "conf/tiny.yaml",
        "speech_upstream": "huggingface:models/hubert",
        "clip_model": "models/tiny_clip.json",
        "clip_pretrained": "models/tiny_clip.safetensors",
        "dump_speech_states": "true",
        "ngpu": "0",
        "nj": "2",
        "inference_nj": "2",
        "num_threads": "1",
        "python": python,
        "stage": stage,
        "stop_stage": stage,
    }
    return ["./run.sh", *(word for name in options for word in (f"--{name}", options[name]))]
