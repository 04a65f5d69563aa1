from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from espnet_plugin.data.record import VERSIONS
from s3prl_upstream.superb import __main__ as superb
from s3prl_upstream.superb import run as superb_run
from s3prl_upstream.superb.run import RunError, Settings, Upstream, overrides_text, run_task
from s3prl_upstream.superb.table import table
from s3prl_upstream.superb.tasks import TASKS


def test_upstreams_are_read() -> None:
    assert Upstream.parse("fbank") == Upstream("fbank", "fbank", None)
    assert Upstream.parse("speechclip_plus=a/b=c") == Upstream(
        "speechclip_plus", "speechclip_plus", "a/b=c"
    )
    assert Upstream.parse("mini-hubert:hf_hubert_custom=x") == Upstream(
        "mini-hubert", "hf_hubert_custom", "x"
    )
    with pytest.raises(ValueError, match="write NAME"):
        Upstream.parse("a b")


@pytest.mark.parametrize(
    ("task", "output", "expected"),
    [
        ("IC", "dev acc: 0.1\ntest acc: 0.25\n", {"acc": 25.0}),
        ("PR", "test loss: 1.5\ntest per: 0.125\n", {"PER": 12.5}),
        ("ASR", "test-clean uer: 3.0\ntest-clean wer: 6.4\n", {"WER": 6.4}),
        ("ASV", "sv-voxceleb1/test-EER: 0.0511\n", {"EER": 5.11}),
        ("SD", "mode test acc 0.97 der 0.0588\n", {"DER": 5.88}),
        ("SF", "test slot_type_f1: 0.88\ntest slot_value_cer: 2.5e-1\n", {"F1": 88.0, "CER": 25.0}),
        ("KS", "train acc: 0.3\n", {"acc": None}),
    ],
)
def test_metrics_are_found(task: str, output: str, expected: dict[str, float | None]) -> None:
    found = {metric.name: metric.find(output) for metric in TASKS[task].metrics}
    assert found == pytest.approx(expected)


def test_overrides_are_written_as_s3prl_reads_them(tmp_path: Path) -> None:
    given = {"config.a": [1, "x"], "config.b": tmp_path, "config.c": None}
    assert overrides_text(given) == f"config.a=[1, 'x'],,config.b={tmp_path},,config.c=None"
    with pytest.raises(ValueError, match="config.a: s3prl cannot take 'x=y'"):
        overrides_text({"config.a": "x=y"})


class Runner:
    """Stands for the processes that train and evaluate."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[list[str]] = []
        self.fails_in = ""
        monkeypatch.setattr(superb_run, "_call", self)

    def __call__(self, arguments: list[str], log: Path) -> str:
        self.calls.append(list(arguments))
        mode = arguments[1]
        if mode == self.fails_in:
            raise RunError(f"{log}: exit code 1")
        if mode == "train":
            (log.parent / "states-9.ckpt").touch()
            (log.parent / "states-10.ckpt").touch()
        eer = 0.25 if "states-9" in str(arguments) else 0.5
        return f"test acc: 0.5\ntest-EER: {eer}\n"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Runner:
    return Runner(monkeypatch)


UPSTREAM = Upstream("ours", "speechclip_plus", "model")
DATA = {"config.downstream_expert.datarc.file_path": "data"}


def test_trains_evaluates_and_does_nothing_twice(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(tmp_path, steps=40, workers=0)
    data = {**DATA, "config.optimizer.lr": 0.01}
    assert run_task(TASKS["SID"], UPSTREAM, data, settings) == {"acc": 50.0}
    train, evaluate = runner.calls
    assert train[:3] == ["-m", "train", "-a"]
    options = train[train.index("-o") + 1].split(",,")
    assert "config.runner.total_steps=40" in options
    assert "config.optimizer.lr=0.01" in options
    assert "config.downstream_expert.datarc.num_workers=0" in options
    assert train[train.index("-k") + 1] == "model"
    assert evaluate[evaluate.index("-e") + 1].endswith("states-10.ckpt")  # no best one
    result = json.loads((tmp_path / "ours" / "SID" / "result.json").read_text())
    assert result["metrics"] == {"acc": 50.0}
    run_task(TASKS["SID"], UPSTREAM, data, replace(settings, workers=2))
    assert len(runner.calls) == 2
    for upstream, more, given, said in (
        (replace(UPSTREAM, checkpoint="other"), {}, settings, "checkpoint: model then, other now"),
        (UPSTREAM, {"config.optimizer.lr": 0.1}, settings, "lr: 0.01 then, 0.1 now"),
        (UPSTREAM, {}, replace(settings, seed=1), "seed: 1337 then, 1 now"),
        (UPSTREAM, {}, replace(settings, steps=80), "total_steps: 40 then, 80 now"),
    ):
        with pytest.raises(RunError, match=f"{said}.*a label of its own"):
            run_task(TASKS["SID"], upstream, data | more, given)
    with monkeypatch.context() as later:
        later.setitem(VERSIONS, "SUPERB", VERSIONS["SUPERB"] + 1)
        with pytest.raises(RunError, match="its code: SUPERB . then, SUPERB . now"):
            run_task(TASKS["SID"], UPSTREAM, data, settings)
    (tmp_path / "ours" / "SID" / "made_from.json").unlink()  # of a version before
    assert run_task(TASKS["SID"], UPSTREAM, data, settings) == {"acc": 50.0}


def test_another_corpus_in_the_same_folder_is_another_run(runner: Runner, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus" / "wavs"
    corpus.mkdir(parents=True)
    data = {"config.downstream_expert.datarc.file_path": tmp_path / "corpus"}
    settings = Settings(tmp_path / "exp")
    run_task(TASKS["SID"], UPSTREAM, data, settings)
    (corpus / "more.wav").touch()
    with pytest.raises(RunError, match="file_path: .*corpus has changed"):
        run_task(TASKS["SID"], UPSTREAM, data, settings)


def test_is_taken_up_after_the_training(runner: Runner, tmp_path: Path) -> None:
    runner.fails_in = "evaluate"
    with pytest.raises(RunError, match="evaluate.log: exit code 1"):
        run_task(TASKS["SID"], UPSTREAM, DATA, Settings(tmp_path))
    runner.fails_in = ""
    run_task(TASKS["SID"], UPSTREAM, DATA, Settings(tmp_path))
    assert [call[1] for call in runner.calls] == ["train", "evaluate", "evaluate"]


def test_best_saved_checkpoint_counts_without_a_development_set(
    runner: Runner, tmp_path: Path
) -> None:
    assert run_task(TASKS["ASV"], UPSTREAM, DATA, Settings(tmp_path)) == {"EER": 25.0}
    past = [call[call.index("-e") + 1] for call in runner.calls if call[1] == "evaluate"]
    assert [Path(path).name for path in past] == ["states-9.ckpt", "states-10.ckpt"]


def test_folds_are_averaged(runner: Runner, tmp_path: Path) -> None:
    assert run_task(TASKS["ER"], UPSTREAM, DATA, Settings(tmp_path)) == {"acc": 50.0}
    folds = [call[call.index("-v") + 1] for call in runner.calls if call[1] == "train"]
    assert folds == ["fold1", "fold2", "fold3", "fold4", "fold5"]


def result(label: str, task: str, metrics: dict[str, float], **more: object) -> dict:
    return {"upstream": {"label": label}, "task": task, "metrics": metrics, **more}


def test_table() -> None:
    results = [
        result("ours", "SF", {"F1": 88.53, "CER": 25.2}),
        result("ours", "PR", {"PER": 5.41}),
        result("fbank", "PR", {"PER": 82.01}),
        result("ours", "ER", {"acc": 60.0}, fold="fold1"),
        result("ours", "ER", {"acc": 70.0}, fold="fold2"),
    ]
    assert table(results).splitlines() == [
        "| upstream | PR PER ↓ | ER acc ↑ | SF F1 ↑ / CER ↓ |",
        "|---|---|---|---|",
        "| ours | 5.41 | 65.00 | 88.53 / 25.20 |",
        "| fbank | 82.01 | – | – |",
        "",
        "ER: folds in the mean: 2 of 5 (ours).",
    ]


def test_a_failed_run_does_not_stop_the_others(
    runner: Runner, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.yaml"
    data.write_text("tasks:\n  SID: {config.a: b}\n  QbE: {config.a: b}\n")
    runner.fails_in = "train"
    command = ["run", str(data), str(tmp_path / "exp"), "--upstream", "fbank"]
    with pytest.raises(SystemExit, match="fbank SID: .*train.log: exit code 1") as failure:
        superb.main(command)
    assert "QbE" not in str(failure.value)
    assert "| fbank | written |" in capsys.readouterr().out


def test_wrong_data_files(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    for content, message in (
        ("tasks: {XX: {}}\n", "expected a mapping 'tasks' of PR, ASR"),
        ("tasks: {KS: [", "not a YAML file"),
    ):
        path.write_text(content)
        with pytest.raises(SystemExit, match=message):
            superb.main(["run", str(path), "exp", "--upstream", "fbank"])


def test_help_names_the_program(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        superb.main(["run", "--help"])
    assert capsys.readouterr().out.startswith("usage: python -m s3prl_upstream.superb run ")
