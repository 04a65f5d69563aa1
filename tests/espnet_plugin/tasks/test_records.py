"""A training continues with the options of its weights, and its configuration stays theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from espnet_plugin.data.record import FREE_OPTIONS, VERSIONS, read_record, record_path
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from tests.espnet_plugin.tasks.test_speechclip import train


@pytest.fixture(scope="module")
def experiment(tiny_corpus, model_arguments, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("same") / "a"
    return train(tiny_corpus, model_arguments, output, "--max_epoch", "1")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--keyword_extractor_conf", "threshold=2.0"), "threshold: 1.0 then, 2.0 now"),
        (("--model_conf", "align_spans=true"), "model_conf.align_spans: False then, True now"),
        (("--seed", "5"), "seed: 0 then, 5 now"),
        (("--max_epoch", "0"), "max_epoch: 1 then, 0 now"),
        (("--keyword_extractor", "cls"), "keyword_extractor: cif then, cls now"),
        (("--batch_size", "2"), "batch_size: 4 then, 2 now"),
    ],
)
def test_other_options_are_refused(
    experiment: Path, tiny_corpus, model_arguments, options, named, capsys
) -> None:
    before = {path: path.read_bytes() for path in experiment.glob("*.*") if path.is_file()}
    with pytest.raises(SystemExit) as ended:
        train(tiny_corpus, model_arguments, experiment, "--max_epoch", "1", *options)
    assert named in str(ended.value) and "--speechclip_tag" in str(ended.value)
    assert {path: path.read_bytes() for path in before} == before


def test_only_new_weights_bring_a_new_configuration(
    experiment: Path, tiny_corpus, model_arguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = experiment / "config.yaml"
    earlier = yaml.safe_load(file.read_text())
    earlier["model_conf"]["cross_lingual_weight"] = 0.0  # of a version that had it
    file.write_text(yaml.safe_dump(earlier))
    SpeechCLIPTask.build_model_from_file(file)
    before = file.read_bytes()
    free = ("--resume", "true", "--log_interval", "7", "--keyword_extractor_conf", "threshold=1.0")
    train(tiny_corpus, model_arguments, experiment, "--max_epoch", "1", *free)
    assert file.read_bytes() == before  # there was nothing to train
    with monkeypatch.context() as broken:
        broken.setattr(SpeechCLIPTask.trainer, "train_one_epoch", lambda **_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tiny_corpus, model_arguments, experiment, "--max_epoch", "2", *free)
    assert file.read_bytes() == before
    train(tiny_corpus, model_arguments, experiment, "--max_epoch", "2", *free)
    written = yaml.safe_load(file.read_text())
    assert (written["max_epoch"], written["log_interval"]) == (2, 7)
    assert written["keyword_vocabulary"] == yaml.safe_load(before)["keyword_vocabulary"]
    file.write_text("max_epoch: [")
    record_path(experiment).unlink()
    with pytest.raises(SystemExit, match="weights beside it were trained with: restore it"):
        train(tiny_corpus, model_arguments, experiment, "--max_epoch", "3", *free)


def test_other_data_frozen_models_and_code_are_refused(
    tiny_corpus, model_arguments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = train(tiny_corpus, model_arguments, tmp_path / "a", "--max_epoch", "1")
    record = read_record(output)
    files = {"train speech": "utt9 more.wav\n", "clip_conf.model": " "}
    assert record and {*files, "clip_conf.pretrained", "train image"} <= record.inputs.keys()
    for name, more in files.items():
        file = Path(str(record.inputs[name][0]))
        before = file.read_text()
        file.write_text(before + more)
        try:
            with pytest.raises(SystemExit, match=f"{name}: .* has changed; give the options and"):
                train(tiny_corpus, model_arguments, output, "--max_epoch", "2")
        finally:
            file.write_text(before)
    monkeypatch.setitem(VERSIONS, "training", record.version + 1)
    with pytest.raises(SystemExit, match="its code: training . then, training . now"):
        train(tiny_corpus, model_arguments, output, "--max_epoch", "2")


def test_weights_without_a_record_are_compared_by_their_configuration(
    tiny_corpus, model_arguments, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = train(tiny_corpus, model_arguments, tmp_path / "a", "--max_epoch", "1")
    record_path(output).unlink()
    with pytest.raises(SystemExit, match="seed: 0 then, 5 now"):
        train(tiny_corpus, model_arguments, output, "--max_epoch", "2", "--seed", "5")
    train(tiny_corpus, model_arguments, output, "--max_epoch", "2")
    assert "were those of now is not known" in caplog.text
    assert read_record(output)  # it came with the new weights


def test_options_that_may_differ_are_options() -> None:
    parser = SpeechCLIPTask.get_parser()
    known = {action.dest for action in parser._actions} | {"distributed", "required", "version"}
    known |= {"nj", "num_threads", "device", "workers", "part", "batch_seconds", "output_scp"}
    known |= {"python", "inference_nj", "gpu_inference", "num_nodes", "report"}
    known |= {"output", "merge", "max_bad", "trust_remote_code"}  # of other commands
    free = {name for names in FREE_OPTIONS.values() for name in names}
    assert {name for name in free if "." not in name and "/" not in name} <= known
