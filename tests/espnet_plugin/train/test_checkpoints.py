"""Kills, full disks, damaged and hostile checkpoints, with ESPnet's real trainer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from espnet_plugin.patches import whole_files
from espnet_plugin.pretrained.trust import UntrustedModelError
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.train import skipped_updates
from espnet_plugin.train.checkpoints import read_checkpoint, repair_experiment
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.train.skipped_updates import NonFiniteTrainingError, WatchedUpdates
from tests.pickles import touch

CRITERIA = [("valid", "recall_mean_at_1", "max")]


@pytest.fixture(scope="module")
def arguments(tiny_corpus, model_arguments) -> list[str]:
    return [
        *model_arguments,
        *tiny_corpus.data_arguments("train"),
        *tiny_corpus.data_arguments("valid"),
        *("--batch_size", "4", "--num_workers", "0", "--log_level", "WARNING"),
        *("--use_tensorboard", "false", "--use_matplotlib", "false", "--optim_conf", "lr=0.01"),
        *("--resume", "true", "--keep_nbest_models", "2"),
    ]


def train(arguments: list[str], output: Path, epochs: int, *more: str) -> None:
    SpeechCLIPTask.main(
        cmd=[*arguments, "--output_dir", str(output), "--max_epoch", str(epochs), *more]
    )


@pytest.fixture(scope="module")
def trained(arguments, tmp_path_factory) -> Path:
    """Two epochs in one go."""
    output = tmp_path_factory.mktemp("whole") / "exp"
    train(arguments, output, 2)
    return output


@pytest.fixture
def experiment(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "exp", symlinks=True))


KILLED = """
import sys, time, torch
from espnet_plugin.patches import whole_files
class Slow:
    def __reduce__(self):
        print("writing", flush=True)
        time.sleep(60)
with whole_files():
    torch.save({"w": torch.ones(4), "slow": Slow()}, sys.argv[1])
"""


def test_a_kill_while_writing_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    with whole_files():
        torch.save({"w": torch.arange(4)}, path)
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert torch.equal(read_checkpoint(path)["w"], torch.arange(4))
    assert [file.name for file in tmp_path.glob(".*.part.pth")]
    path.unlink()
    repair_experiment(tmp_path, criteria=CRITERIA, keep_nbest=1)
    assert not list(tmp_path.iterdir())
    assert torch.save.__module__ == "torch.serialization"


@pytest.mark.parametrize("failing", [3, 4, 5], ids=["checkpoint", "epoch", "average"])
def test_training_goes_on_after_a_full_disk(
    failing: int, trained: Path, arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch writes checkpoint.pth and its own file; the average follows."""
    save, written = torch.save, 0

    def full(content: Any, target: Any, *args: Any, **options: Any) -> None:
        nonlocal written
        written += 1
        if written == failing:
            target.write(b"half")
            raise OSError(28, "No space left on device")
        save(content, target, *args, **options)

    output = tmp_path / "exp"
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SystemExit, match="the disk is full; free some space and start again"):
        train(arguments, output, 2)
    monkeypatch.setattr(torch, "save", save)
    train(arguments, output, 2)
    for name in ("latest.pth", "valid.recall_mean_at_1.ave_2best.pth"):
        whole, resumed = read_checkpoint(trained / name), read_checkpoint(output / name)
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    ours, theirs = (
        {link.name: os.readlink(link) for link in folder.glob("*.pth") if link.is_symlink()}
        for folder in (output, trained)
    )
    assert ours == theirs


@pytest.mark.parametrize(
    ("method", "remedy"), [("forward", "--batch_size"), ("evaluate", "--valid_batch_size")]
)
def test_a_full_memory_is_one_sentence(
    method: str, remedy: str, arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(ESPnetSpeechCLIPModel, method, full)
    with pytest.raises(SystemExit, match=f"does not hold img._., .* at once; give .*{remedy}"):
        train(arguments, tmp_path / "exp", 1)


def test_a_stump_of_the_last_epoch_is_written_again(experiment: Path) -> None:
    """What ESPnet itself leaves when it is killed."""
    last = experiment / "2epoch.pth"
    whole = {key: value.clone() for key, value in read_checkpoint(last).items()}
    last.write_bytes(last.read_bytes()[:1000])
    (experiment / "latest.pth").unlink()
    repair_experiment(experiment, criteria=CRITERIA, keep_nbest=2)
    again = read_checkpoint(experiment / "latest.pth")
    assert all(torch.equal(value, again[key]) for key, value in whole.items())


def test_what_cannot_be_repaired_says_what_to_do(experiment: Path, arguments) -> None:
    first = experiment / "1epoch.pth"
    whole = first.read_bytes()
    first.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="1epoch.pth: damaged or missing.*Restore it"):
        train(arguments, experiment, 3)
    first.write_bytes(whole)
    checkpoint = experiment / "checkpoint.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be resumed"):
        train(arguments, experiment, 3)


@pytest.mark.parametrize("name", ["checkpoint.pth", "1epoch.pth"])
def test_hostile_experiments_do_not_run(
    name: str, experiment: Path, arguments, tmp_path: Path
) -> None:
    content = read_checkpoint(experiment / name)
    with whole_files():  # the content is mapped from the file
        torch.save({**content, "a": touch(tmp_path / "executed")}, experiment / name)
    with pytest.raises(ValueError, match="refuses to unpickle posix.system|1epoch.pth: damaged"):
        train(arguments, experiment, 3)
    assert not (tmp_path / "executed").exists()


def test_hostile_starting_points_do_not_run(experiment: Path, arguments, tmp_path: Path) -> None:
    evil = experiment / "evil.pth"
    torch.save({"a": touch(tmp_path / "executed")}, evil)
    with pytest.raises(ValueError, match="evil.pth: refuses to unpickle"):
        train(arguments, tmp_path / "new", 1, "--init_param", f"{evil}:speechclip:speechclip")
    with pytest.raises(ValueError, match="evil.pth: refuses to unpickle"):
        SpeechCLIPTask.build_model_from_file(None, evil)
    assert not (tmp_path / "executed").exists()


def test_foreign_configurations_do_not_run(experiment: Path) -> None:
    config = yaml.safe_load((experiment / "config.yaml").read_text())
    config |= {"speech_encoder": "s3prl", "speech_encoder_conf": {"model": "mockingjay_local"}}
    (experiment / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UntrustedModelError, match="mockingjay_local"):
        SpeechCLIPTask.build_model_from_file(None, experiment / "latest.pth")


@pytest.mark.parametrize("limit", [2, 1000])  # more than an epoch has
def test_training_that_diverged_stops_and_names_utterances(
    experiment: Path,
    arguments,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    limit: int,
) -> None:
    monkeypatch.setattr(skipped_updates, "MOST_IN_A_ROW", limit)
    weights = read_checkpoint(experiment / "2epoch.pth")
    start = {key: torch.full_like(value.float(), torch.nan) for key, value in weights.items()}
    torch.save(start, tmp_path / "nan.pth")
    options = ("--init_param", f"{tmp_path}/nan.pth:::num_updates")
    left_out = limit if limit == 2 else "[1-9]"
    with pytest.raises(NonFiniteTrainingError, match=f"updates left out in a row: {left_out}"):
        train(arguments, tmp_path / "new", 1, *options)
    assert "update left out, 2 in this epoch, 2 in a row" in caplog.text
    assert "img0_" in caplog.text


def test_updates_are_counted_by_accumulated_batches(caplog: pytest.LogCaptureFixture) -> None:
    class Model(torch.nn.Module):
        updates_done = 0

    model = Model()
    batches = [([f"u{number}"], {}) for number in range(7)]
    watched = WatchedUpdates(batches, model, accum_grad=2)
    assert len(watched) == 7
    for number, (ids, _) in enumerate(watched, 1):
        assert ids == [f"u{number - 1}"]
        if number == 4:
            model.updates_done += 1  # of batches 1 and 2, 3 and 4, 5 and 6 only the second
    assert (watched.skipped.total, watched.skipped.in_a_row) == (2, 1)
    assert "not finite: u0 u1" in caplog.text and "not finite: u4 u5" in caplog.text
