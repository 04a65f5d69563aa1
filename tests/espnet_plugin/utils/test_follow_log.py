"""The status line that a training log gives."""

from __future__ import annotations

import os
from pathlib import Path

from espnet_plugin.utils.follow_log import Status, lines_of

START = "[host] 2026-01-01 00:00:00,000 (trainer:349) INFO: "


def test_lines_of_a_training_log() -> None:
    status, start = Status(), START
    # the first epoch of a resumed training
    assert status.feed(start + "3/14epoch started") is None
    assert status.text == "epoch 3/14"
    status.feed(start + "3epoch:train:21-40batch: iter_time=0.1, loss=5.25")
    assert status.text == "epoch 3/14 batch 40 loss 5.25"
    line = start + "4/14epoch started. Estimated time to finish: 4 minutes and 40.88 seconds"
    assert status.feed(line) is None
    assert status.text == "epoch 4/14, about 4 minutes left"
    assert status.feed(start + "4epoch:train:1-20batch: iter_time=0.1, loss=4.25, x=1") is None
    assert status.text == "epoch 4/14 batch 20 loss 4.25, about 4 minutes left"
    message = status.feed(
        start + "4epoch results: [train] loss=4.2, time=1 minute, [valid] loss=4.1, "
        "parallel_recall_mean_at_1=0.3, recall_mean_at_1=0.25, recall_mean_at_10=0.7, time=2 s"
    )
    assert message == "epoch 4/14: recall_mean_at_1=0.25 recall_mean_at_10=0.7"
    status.feed(start + "14/14epoch started. Estimated time to finish: 28.44 seconds")
    assert status.text == "epoch 14/14, about 28 seconds left"


def test_updates_left_out_are_counted() -> None:
    status = Status()
    status.feed(START + "1/9epoch started")
    status.feed(START + "update left out, 1 in this epoch, 1 in a row: the loss or a gradient ...")
    assert status.text == "epoch 1/9, 1 update left out (not finite)"
    status.feed(START + "update left out, 2 in this epoch, 1 in a row: the loss or a gradient ...")
    status.feed(START + "1epoch:train:1-20batch: iter_time=0.1, loss=5.25")
    assert status.text == "epoch 1/9 batch 20 loss 5.25, 2 updates left out (not finite)"
    status.feed(START + "2/9epoch started")
    assert "left out" not in status.text


def test_lines_of_a_data_log() -> None:
    status = Status()
    line = "speech states: 1,064/2,100 utterance after 31 seconds"
    assert status.feed(f"2026-01-01 INFO: {line}") is None
    assert status.text == line
    assert status.feed("x INFO: The hidden states need 1 GiB more; 9 GiB are free in d") is not None
    assert status.feed("anything else") is None


def test_an_earlier_runs_log_is_not_shown(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("old\n")
    os.utime(log, (1, 1))
    lines = lines_of(str(log))
    assert next(lines) is None
    log.rename(tmp_path / "train.1.log")
    assert next(lines) is None
    log.write_text("new\n")
    os.utime(log, (2**32, 2**32))
    assert next(lines) == "new"
