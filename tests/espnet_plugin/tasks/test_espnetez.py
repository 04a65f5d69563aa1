"""ESPnet-EZ's trainer, which ESPnet ships up to 202511, trains SpeechCLIP+."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import yaml

from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.tasks.speechclip import SpeechCLIPTask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("espnetez") is None, reason="ESPnet without EZ"),
]


def test_trains_the_task(
    tiny_corpus, model_arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnetez.config import from_yaml
    from espnetez.task import TASK_CLASSES
    from espnetez.trainer import Trainer

    options = dict(zip(model_arguments[::2], model_arguments[1::2], strict=True))
    config = {name[2:]: yaml.safe_load(value) for name, value in options.items()}
    config["speech_encoder_conf"] = {"model": str(tiny_corpus.speech_encoder)}
    config |= {"batch_size": 4, "max_epoch": 1, "num_workers": 0}
    config |= {"use_tensorboard": False, "use_matplotlib": False}
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))

    monkeypatch.setitem(TASK_CLASSES, "speechclip", SpeechCLIPTask)
    trainer = Trainer(
        task="speechclip",
        train_config=from_yaml("speechclip", tmp_path / "train.yaml"),
        output_dir=str(tmp_path / "exp"),
        stats_dir=str(tmp_path / "stats"),
        train_dump_dir=tiny_corpus.data,
        valid_dump_dir=tiny_corpus.data,
        data_info={
            "speech": ("wav.scp", "sound"),
            "image": ("image_feat.scp", "npy"),
            "image_id": ("utt2image_id", "text_int"),
        },
        required=["output_dir"],
        ngpu=0,
    )
    trainer.collect_stats()
    trainer.train()
    speech = 0.1 * np.random.default_rng(0).standard_normal(6000)
    result = SpeechCLIPInference.from_pretrained(str(tmp_path / "exp"))(speech)
    assert np.isfinite(result.parallel).all()
