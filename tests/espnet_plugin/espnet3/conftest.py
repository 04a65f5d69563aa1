"""A recipe folder of ESPnet3 with the tiny corpus in it, prepared."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# ESPnet3 comes with ESPnet 202611, for Python 3.12 and later, and needs the extra of the same name
if any(importlib.util.find_spec(package) is None for package in ("espnet3", "lightning", "dask")):
    collect_ignore_glob = ["test_*.py"]

PARTS = ("train", "dev", "test")


@pytest.fixture
def recipe(tiny_corpus, tmp_path: Path) -> Path:
    """dump/raw/tiny_{train,dev,test}, all the same, and the shape files."""
    (tmp_path / "dump" / "raw").mkdir(parents=True)
    for part in PARTS:
        (tmp_path / "dump" / "raw" / f"tiny_{part}").symlink_to(tiny_corpus.data)
    for part in ("train", "valid"):
        folder = tmp_path / "exp" / "speechclip_stats_raw_tiny_train" / part
        folder.mkdir(parents=True)
        (folder / "speech_shape").symlink_to(tiny_corpus.data / "utt2num_samples")
    return tmp_path


@pytest.fixture
def training_options(tiny_corpus) -> dict[str, Any]:
    """A training configuration of the tiny hybrid+ model, beside the package's defaults."""
    return {
        "corpus": "tiny",
        "model": {
            "speech_encoder_conf": {"model": str(tiny_corpus.speech_encoder)},
            "clip_conf": {
                "model": str(tiny_corpus.clip_model),
                "pretrained": str(tiny_corpus.clip_weights),
            },
            "keyword_vocabulary": str(tiny_corpus.vocabulary),
            "keyword_extractor_conf": {
                "frames_per_keyword": 4,
                "scaling_steps": 3,
                "dropout": 0.0,
            },
            "attention_conf": {"num_heads": 2, "dropout": 0.0},
            "optim": "adamw",
            "optim_conf": {"lr": 0.01},
            "exclude_weight_decay": True,
            "grad_clip": 0.5,
            "batch_size": 4,
            "num_workers": 0,
            "max_epoch": 2,
        },
        "trainer": {"accelerator": "cpu"},
    }


@pytest.fixture
def load_config(recipe: Path) -> Callable[..., Any]:
    """A function that makes a role's configuration as ESPnet3's launcher does."""
    import yaml
    from espnet3.utils.config_utils import load_and_merge_config

    def load(role: str, options: dict[str, Any], *, exp_tag: str = "a") -> Any:
        path = recipe / f"{role}.yaml"
        path.write_text(yaml.safe_dump({"recipe_dir": str(recipe), "exp_tag": exp_tag, **options}))
        return load_and_merge_config(path, f"{role}.yaml", "espnet_plugin.espnet3")

    return load
