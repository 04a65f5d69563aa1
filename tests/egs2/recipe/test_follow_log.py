"""The status line that a training log gives."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "egs2/speechclip_plus/scripts/utils/follow_log.py"


def load() -> object:
    spec = importlib.util.spec_from_file_location("follow_log", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lines_of_a_training_log() -> None:
    status = load().Status()
    start = "[host] 2026-01-01 00:00:00,000 (trainer:349) INFO: "
    assert status.feed(start + "2/14epoch started. Estimated time to finish: 3 minutes") is None
    assert status.text == "epoch 2/14, about 3 minutes left"
    assert status.feed(start + "2epoch:train:1-20batch: iter_time=0.1, loss=4.25, x=1") is None
    assert status.text == "epoch 2/14 batch 20 loss 4.25, about 3 minutes left"
    message = status.feed(
        start + "2epoch results: [train] loss=4.2, time=1 minute, [valid] loss=4.1, "
        "parallel_recall_mean_at_1=0.3, recall_mean_at_1=0.25, recall_mean_at_10=0.7, time=2 s"
    )
    assert message == "epoch 2/14: recall_mean_at_1=0.25 recall_mean_at_10=0.7"


def test_lines_of_a_data_log() -> None:
    status = load().Status()
    assert status.feed("2026-01-01 INFO: speech states: 64/100 utterance after 31 s") is None
    assert status.text == "speech states: 64/100 utterance after 31 s"
    assert status.feed("x INFO: The hidden states need 1 GiB more; 9 GiB are free in d") is not None
    assert status.feed("anything else") is None
