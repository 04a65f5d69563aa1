"""The recipe under ESPnet3: its configurations, and all stages on a tiny corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("espnet3", reason="ESPnet3 needs Python 3.12")
pytest.importorskip("lightning", reason="pip install '.[espnet3]'")

from espnet3.utils.config_utils import load_and_merge_config
from espnet3.utils.task_utils import get_espnet_model
from omegaconf import DictConfig

from tests.local_hub import PROXIES, local_hub
from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "egs3" / "speechclip_plus"
STAGES = (
    "create_dataset embed_images make_vocabulary collect_stats train infer measure "
    "pack_model upload_model"
)


OWN_KEYWORDS = """
from espnet_plugin.model.keyword_extractor import CifKeywordExtractor

class OwnKeywords(CifKeywordExtractor):
    pass
"""


def load(role: str, corpus: str) -> DictConfig:
    return load_and_merge_config(
        RECIPE / "conf" / f"{role}_{corpus}.yaml", f"{role}.yaml", "espnet_plugin.espnet3"
    )


@pytest.mark.parametrize("corpus", ["mini", "flickr8k", "spokencoco"])
def test_configurations_fit_together(corpus: str) -> None:
    training, inference, metrics = (
        load(role, corpus) for role in ("training", "inference", "metrics")
    )
    tuning = yaml.safe_load((RECIPE / training.preparation.speechclip_config).read_text())
    assert training.optimizer.conf == tuning["optim_conf"]
    assert training.trainer.max_epochs == tuning["max_epoch"]
    assert training.trainer.callbacks[0].grad_clip == tuning["grad_clip"]
    ((criterion, best, mode),) = training.best_model_criterion
    assert criterion.split("/") == tuning["best_model_criterion"][0][:2]
    assert (best, mode) == (tuning["keep_nbest_models"], tuning["best_model_criterion"][0][2])
    script = (RECIPE / "scripts/stages/options.sh").read_text()
    for option in training.preparation:
        assert f"\n{option}=" in script, option
    # the place where stage 5 puts the vocabulary
    clip = training.model.clip_conf
    tag = Path(clip.model).stem if corpus == "mini" else f"{clip.model}_{clip.pretrained}"
    assert training.model.keyword_vocabulary == (
        f"./data/token_list/clip_{tag}/train_{corpus}_train.tsv"
    )
    sets = [training.preparation.valid_set, *training.preparation.test_sets]
    assert [test.name for test in inference.dataset.test] == sets
    assert [metrics.valid_set, metrics.test_set] == sets


def build_model(training: DictConfig, *, hubert: Path, clip: dict[str, str], work: Path) -> Any:
    """As the stage `train` does, with frozen models that are at hand."""
    tokens = work / "tokens.tsv"
    tokens.write_text("id\ttoken\tcount\n" + "".join(f"{n}\tx\t1\n" for n in range(1000, 1010)))
    training.model.speech_encoder_conf.model = str(hubert)
    training.model.clip_conf.update(clip)
    training.model.keyword_vocabulary = str(tokens)
    return get_espnet_model(training.task, training.model)


@pytest.mark.parametrize("corpus", ["mini", "flickr8k", "spokencoco"])
def test_configurations_build_a_model(corpus: str, tmp_path: Path) -> None:
    clip = {"model": str(tiny_clip_config(tmp_path)), "pretrained": "random"}
    model = build_model(
        load("training", corpus), hubert=tiny_hubert_dir(tmp_path), clip=clip, work=tmp_path
    ).speechclip
    assert model.parallel_projection is not None
    assert type(model.keyword_branch.extractor).__name__ == "CifKeywordExtractor"
    assert model.clip.image_tower is None  # images come as embeddings


@pytest.mark.slow
def test_a_model_of_the_released_size_is_built(tmp_path: Path) -> None:
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    HubertModel(HubertConfig()).save_pretrained(tmp_path)  # HuBERT base's shape
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    model = build_model(
        load("training", "flickr8k"), hubert=tmp_path, clip={"pretrained": "random"}, work=tmp_path
    )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 4_924_175  # as in the list of the released checkpoint's weights


def make_recipe(root: Path) -> None:
    """A folder like egs3/speechclip_plus, with a corpus and a user's class."""
    import numpy as np
    import soundfile
    from PIL import Image

    (root / "local").mkdir()
    (root / "local" / "data.sh").write_text("#!/bin/sh\n")
    (root / "local" / "data.sh").chmod(0o755)
    (root / "conf").mkdir()
    for name in ("cmd.sh", "path.sh", "scripts", "speechclip.sh", "utils", "conf/tuning"):
        (root / name).symlink_to(RECIPE / name)
    rng = np.random.RandomState(0)
    for part in ("train", "dev", "test"):
        folder = root / "data" / f"tiny_{part}"
        folder.mkdir(parents=True)
        lines: dict[str, list[str]] = {}
        for image in (f"{part}{number}" for number in range(4)):
            pixels = rng.randint(0, 255, (40, 48, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
            lines.setdefault("image.scp", []).append(f"{image} {folder}/{image}.png")
            for key in (f"{image}_0", f"{image}_1"):
                noise = 0.1 * rng.randn(rng.randint(4000, 9000))
                soundfile.write(folder / f"{key}.wav", noise, 16000)
                lines.setdefault("wav.scp", []).append(f"{key} {folder}/{key}.wav")
                lines.setdefault("text", []).append(f"{key} a red dog runs")
                lines.setdefault("utt2spk", []).append(f"{key} {key}")
                lines.setdefault("utt2image", []).append(f"{key} {image}")
        for file, content in lines.items():
            (folder / file).write_text("".join(f"{line}\n" for line in content))
    (root / "own_keywords.py").write_text(OWN_KEYWORDS)
    clip = tiny_clip_config(root)
    training = {
        "defaults": [{"model": "tuning/mini_hybrid_plus"}, "_self_"],
        "corpus": "tiny",
        "exp_tag": "tiny",
        "preparation": {
            "speechclip_config": "conf/tuning/mini_hybrid_plus.yaml",
            "speech_upstream": "${model.speech_encoder_conf.model}",
            "clip_model": "${model.clip_conf.model}",
            "clip_pretrained": "${model.clip_conf.pretrained}",
            "audio_format": "wav",
            "dump_speech_states": True,
            "nj": 1,
            "inference_nj": 1,
            "ngpu": 0,
        },
        "model": {
            "speech_encoder_conf": {"model": str(tiny_hubert_dir(root))},
            "clip_conf": {"model": str(clip), "pretrained": str(tiny_clip_weights(root, clip))},
            "keyword_vocabulary": "data/token_list/clip_tiny_clip/train_tiny_train.tsv",
            "attention_conf": {"num_heads": 2},
            "keyword_extractor": "own_keywords:OwnKeywords",
            "batch_size": 4,
            "num_workers": 0,
            "max_epoch": 2,
        },
        "trainer": {"accelerator": "cpu"},
    }
    corpus = {"corpus": "tiny"}
    cpu = {"device": "cpu", "parallel": {"n_workers": 1}, "model": {"trust_remote_code": True}}
    for role, options in {
        "training": training,
        "inference": corpus | cpu,
        "metrics": corpus,
        "publication": {"upload_model": {"hf_repo": "owner/tiny"}},
    }.items():
        (root / "conf" / f"{role}_tiny.yaml").write_text(yaml.safe_dump(options))


@pytest.mark.slow
def test_all_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from espnet_plugin.pretrained import load_speechclip

    make_recipe(tmp_path)
    command = [sys.executable, str(RECIPE / "run.py"), "--stages", *STAGES.split()]
    for role in ("training", "inference", "metrics", "publication"):
        command += [f"--{role}_config", f"conf/{role}_tiny.yaml"]
    environment = {k: v for k, v in os.environ.items() if k.lower() not in PROXIES}
    environment |= {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT}:{tmp_path}",
        "HF_TOKEN": "hf_loopback",
    }
    with local_hub() as hub:
        environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0"}
        result = subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
        )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-5000:]
    exp = tmp_path / "exp" / "tiny"
    scores = json.loads((exp / "inference_tiny" / "scores.json").read_text())
    assert (scores["architecture"], scores["utterances"]) == (
        "hybrid (own_keywords:OwnKeywords)",
        8,
    )
    assert (exp / "inference_tiny" / "report.html").stat().st_size > 0
    assert "epoch results: [train] loss=" in (exp / "train.log").read_text()
    monkeypatch.syspath_prepend(str(tmp_path))
    uploaded = hub.repositories["owner/tiny"]
    assert "CLIP reading the caption" in uploaded["README.md"].decode()  # the results
    downloaded = tmp_path / "downloaded"
    for name, content in uploaded.items():
        (downloaded / name).parent.mkdir(parents=True, exist_ok=True)
        (downloaded / name).write_bytes(content)
    for stored in (exp / "model", downloaded):
        model = load_speechclip(stored, trust_remote_code=True)
        assert model.parallel_projection is not None
        assert type(model.keyword_branch.extractor).__name__ == "OwnKeywords"
