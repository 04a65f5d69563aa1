from __future__ import annotations

import math

import pytest

from espnet_plugin.evaluation.training_log import read_training_curves, training_cpu_seconds

LINE = (
    "[h] 2026-01-01 00:00:00,000 (trainer:359) INFO: {epoch}epoch results: [train] "
    "iter_time=1.000e-04, loss={loss}, optim0_lr0=1.000e-04, time=1 minute and 3.5 seconds, "
    "total_count=10, gpu_max_cached_mem_GB=0.000, [valid] loss=3.500, recall_mean_at_10=0.250, "
    "time=2 seconds, total_count=2\n"
)


def test_reads_train_log(tmp_path):
    (tmp_path / "train.log").write_text(
        "noise\n" + LINE.format(epoch=1, loss="4.250") + LINE.format(epoch=2, loss="nan")
    )
    curves = read_training_curves(tmp_path)
    assert curves["loss"]["valid"] == [(1, 3.5), (2, 3.5)]
    assert curves["loss"]["train"][0] == (1, 4.25)
    assert math.isnan(curves["loss"]["train"][1][1])
    assert curves["recall_mean_at_10"] == {"valid": [(1, 0.25), (2, 0.25)]}
    assert not {"time", "total_count"} & set(curves)


def test_an_epoch_trained_again_counts_once(tmp_path):
    text = LINE.format(epoch=1, loss="4.0") + LINE.format(epoch=1, loss="3.0")
    (tmp_path / "train.log").write_text(text)
    assert read_training_curves(tmp_path)["loss"]["train"] == [(1, 3.0)]


def test_cpu_seconds_of_training_add_up(tmp_path):
    assert training_cpu_seconds(tmp_path) is None
    text = LINE.format(epoch=1, loss="4.0") + LINE.format(epoch=2, loss="3.0")
    (tmp_path / "train.log").write_text(text)
    assert training_cpu_seconds(tmp_path) is None  # an earlier version's
    text = text.replace("[train] ", "[train] cpu_seconds=40.500, ")
    (tmp_path / "train.log").write_text(text)
    assert training_cpu_seconds(tmp_path) == 81.0


def test_nothing_to_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="no train.log"):
        read_training_curves(tmp_path)
