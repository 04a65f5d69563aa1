from __future__ import annotations

from espnet_plugin.evaluation.training_log import read_epochs, training_cpu_seconds

LINE = (
    "[h] 2026-01-01 00:00:00,000 (trainer:359) INFO: {epoch}epoch results: [train] "
    "iter_time=1.000e-04, cpu_seconds={seconds}, loss=3.0, time=1 minute and 3.5 seconds, "
    "total_count=10, [valid] loss=3.500, cpu_seconds=7.000, time=2 seconds, total_count=2\n"
)


def test_cpu_seconds_of_training_add_up(tmp_path):
    assert training_cpu_seconds(read_epochs(tmp_path)) is None
    text = LINE.format(epoch=1, seconds="40.500") + LINE.format(epoch=2, seconds="5.000e-01")
    (tmp_path / "train.log").write_text("noise\n" + text)
    assert training_cpu_seconds(read_epochs(tmp_path)) == 41.0


def test_an_earlier_version_did_not_measure(tmp_path):
    line = LINE.format(epoch=1, seconds="1").replace("cpu_seconds=1, ", "")
    (tmp_path / "train.log").write_text(line)
    assert training_cpu_seconds(read_epochs(tmp_path)) is None


def test_an_epoch_trained_again_counts_once(tmp_path):
    text = LINE.format(epoch=1, seconds="4.0") + LINE.format(epoch=1, seconds="3.0")
    (tmp_path / "train.log").write_text(text)
    assert training_cpu_seconds(read_epochs(tmp_path)) == 3.0


def test_epochs_have_the_values_of_both_sets(tmp_path):
    text = LINE.format(epoch=10, seconds="4.0") + LINE.format(epoch=2, seconds="3.0")
    (tmp_path / "train.log").write_text(text)
    second, tenth = read_epochs(tmp_path)
    assert (second.number, tenth.number) == (2, 10)
    assert second.train == {"iter_time": 1e-4, "cpu_seconds": 3.0, "loss": 3.0, "total_count": 10}
    assert second.valid == {"loss": 3.5, "cpu_seconds": 7.0, "total_count": 2}
