"""Training, inference and scores on a tiny corpus, with ESPnet3's own trainer and workers."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from espnet_plugin.espnet3 import system
from espnet_plugin.espnet3.system import SpeechCLIPSystem
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.train import skipped_updates
from espnet_plugin.train.espnet_model import EncodedBatch, ESPnetSpeechCLIPModel, Losses
from espnet_plugin.train.skipped_updates import NonFiniteTrainingError

ROOT = Path(__file__).parents[3]
AVERAGE = "valid.recall_mean_at_1.ave.pth"


def load_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


def assert_same(first: Path, second: Path, *, atol: float = 1e-6) -> None:
    one, two = load_checkpoint(first), load_checkpoint(second)
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.allclose(value.double(), two[key].double(), rtol=0, atol=atol), key


def last_weights(experiment: Path) -> Path:
    """The resume point's weights as a file of their own."""
    state = torch.load(experiment / "last.ckpt", map_location="cpu", weights_only=False)
    path = experiment / "last_weights.pth"
    torch.save(state["state_dict"], path)
    return path


@pytest.fixture
def experiment(recipe, load_config, training_options) -> Path:
    """Two epochs of three updates."""
    SpeechCLIPSystem(training_config=load_config("training", training_options)).train()
    return recipe / "exp" / "a"


@pytest.fixture
def train_espnet2(tiny_corpus, model_arguments, recipe) -> Callable[..., Path]:
    """A function that trains the same by ESPnet2's task, with more options."""

    def train(*more: str) -> Path:
        output = recipe / "exp" / "espnet2"
        options = {"batch_size": 4, "num_workers": 0, "max_epoch": 2, "optim_conf": "lr=0.01"}
        options |= {"optim": "adamw", "exclude_weight_decay": "true", "grad_clip": 0.5}
        options |= {"use_tensorboard": "false", "use_matplotlib": "false"}
        command = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command += [*model_arguments, *more, *tiny_corpus.data_arguments("train")]
        SpeechCLIPTask.main(
            cmd=[*command, *tiny_corpus.data_arguments("valid"), "--output_dir", str(output)]
        )
        return output

    return train


@pytest.fixture
def espnet2_experiment(train_espnet2) -> Path:
    return train_espnet2()


def test_trains_as_under_espnet2(experiment: Path, espnet2_experiment: Path) -> None:
    output = espnet2_experiment
    # to the last bit: what is rounded otherwise has grown to another training after an epoch
    assert_same(last_weights(experiment), output / "2epoch.pth", atol=0)
    assert_same(experiment / AVERAGE, output / AVERAGE, atol=0)
    ours, theirs = (
        yaml.safe_load((path / "config.yaml").read_text()) for path in (experiment, output)
    )
    for name in ("seed", "best_model_criterion", "keyword_vocabulary", "batch_size", "clip_conf"):
        assert ours[name] == theirs[name], name
    best = torch.load(experiment / "last.ckpt", weights_only=False)["callbacks"]
    score = max(float(state.get("best_model_score") or 0) for state in best.values())
    reporter = torch.load(output / "checkpoint.pth", weights_only=False)["reporter"]["stats"]
    assert score == pytest.approx(max(reporter[n]["valid"]["recall_mean_at_1"] for n in (1, 2)))


def test_other_options_are_refused(experiment: Path, load_config, training_options) -> None:
    file = experiment / "config.yaml"
    before = file.read_bytes()

    def train(**model: object) -> None:
        training_options["model"] |= model
        SpeechCLIPSystem(training_config=load_config("training", training_options)).train()

    with pytest.raises(ValueError, match=r"model_conf\.align_spans: False then, True now"):
        train(model_conf={"align_spans": True})
    assert file.read_bytes() == before
    train(model_conf={}, max_epoch=3)
    assert yaml.safe_load(file.read_text())["max_epoch"] == 3


def test_hidden_states_are_made_with_the_options_of_the_training(
    load_config, training_options, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[dict] = []
    monkeypatch.setattr(system, "run_recipe_stages", lambda *_, options: called.append(options))
    conf = {"model": "my models/hubert", "normalize_waveform": False}
    training_options["model"] |= {"speech_encoder": "huggingface", "speech_encoder_conf": conf}
    config = load_config("training", training_options)
    SpeechCLIPSystem(training_config=config).collect_stats()
    words = called[0]["speechclip_args"].split()
    args = SpeechCLIPTask.get_parser().parse_args(words)
    assert (args.speech_encoder, args.speech_encoder_conf) == ("huggingface", conf)


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes losses infinite, or gradients NaN, of the batches with these numbers;
    it is called before each training."""

    def choose(kind: str, batches: Collection[int]) -> None:
        number = itertools.count(1)

        def failing(self: ESPnetSpeechCLIPModel, encoded: EncodedBatch) -> Losses:
            loss, stats, weight = objective(self, encoded)
            if self.training and next(number) in batches:
                if kind == "loss":
                    loss = loss * torch.inf
                else:
                    loss = loss + (loss - loss.detach()).abs().sqrt()  # 0, its gradient NaN
            return loss, stats, weight

        monkeypatch.setattr(ESPnetSpeechCLIPModel, "objective", failing)

    objective = ESPnetSpeechCLIPModel.objective
    return choose


SCHEDULE = {"warmup_steps_list": [0, 2, 6], "warmup_lr_list": [0.0, 0.02, 0.001]}
BANK = {"bank_weight": 0.5}


@pytest.mark.parametrize(
    ("options", "failing", "updates"),
    [
        ({"accum_grad": 2}, None, 2),  # an epoch's third batch is left out
        ({"accum_grad": 2, "batch_size": 3}, "loss", 3),
        ({"model_conf": BANK}, None, 6),
        ({}, "loss", 5),
        ({}, "gradient", 5),
    ],
)
def test_makes_the_updates_of_espnet2(
    options: dict,
    failing: str | None,
    updates: int,
    recipe,
    load_config,
    training_options,
    train_espnet2,
    fail,
    caplog,
) -> None:
    options = {"scheduler": "piecewiselinearwarmuplr", "scheduler_conf": SCHEDULE, **options}
    training_options["model"] |= options
    config = load_config("training", training_options)
    if failing:
        fail(failing, {2})
    SpeechCLIPSystem(training_config=config).train()
    assert (failing is not None) == ("update left out, 1 in this epoch" in caplog.text)
    if failing:
        fail(failing, {2})
    output = train_espnet2(*(w for name, v in options.items() for w in (f"--{name}", str(v))))
    weights = last_weights(recipe / "exp" / "a")
    assert load_checkpoint(weights)["num_updates"] == updates
    assert_same(weights, output / "2epoch.pth", atol=0)


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_training_that_makes_no_updates_stops(
    kind: str, load_config, training_options, fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(kind, range(2, 100))
    monkeypatch.setattr(skipped_updates, "MOST_IN_A_ROW", 3)
    training_options["model"]["max_epoch"] = 9
    config = load_config("training", training_options)
    with pytest.raises(NonFiniteTrainingError, match="updates left out in a row: 3"):
        SpeechCLIPSystem(training_config=config).train()


@pytest.mark.parametrize("options", [{}, {"accum_grad": 2}, {"model_conf": BANK}])
def test_goes_on_where_it_stood(options: dict, recipe, load_config, training_options) -> None:
    training_options["model"] |= options
    for tag, epochs in (("a", 2), ("b", 1), ("b", 2)):
        training_options["model"]["max_epoch"] = epochs
        config = load_config("training", training_options, exp_tag=tag)
        SpeechCLIPSystem(training_config=config).train()
    whole, resumed = recipe / "exp" / "a", recipe / "exp" / "b"
    assert_same(last_weights(whole), last_weights(resumed), atol=0)
    assert_same(whole / AVERAGE, resumed / AVERAGE, atol=0)


def test_a_finished_training_stays_as_it_is(
    experiment: Path, load_config, training_options
) -> None:
    def files() -> dict[str, bytes]:
        weights = {path.name: path.read_bytes() for path in experiment.glob("*.pth")}
        return weights | {"config.yaml": (experiment / "config.yaml").read_bytes()}

    before = files()
    SpeechCLIPSystem(training_config=load_config("training", training_options)).train()
    assert files() == before
    load_speechclip(experiment)


def test_a_model_loads_wherever_the_other_espnets_does(experiment: Path) -> None:
    from s3prl_upstream.expert import UpstreamExpert

    speech, lengths = torch.randn(1, 8000), torch.tensor([8000])
    model = load_speechclip(experiment).eval()
    task_model, _ = SpeechCLIPTask.build_model_from_file(
        experiment / "config.yaml", experiment / AVERAGE
    )
    with torch.no_grad():
        expected = model(model.speech_encoder(speech, lengths)).parallel
        other = task_model.eval().speechclip
        torch.testing.assert_close(other(other.speech_encoder(speech, lengths)).parallel, expected)
        states = UpstreamExpert(str(experiment / AVERAGE)).eval()([speech[0]])["hidden_states"]
    assert all(torch.isfinite(state).all() for state in states)


@pytest.mark.slow
@pytest.mark.parametrize("trained_by", ["experiment", "espnet2_experiment"])
def test_each_espnet_infers_with_the_others_model(
    trained_by: str, request: pytest.FixtureRequest, recipe: Path, load_config, tiny_corpus
) -> None:
    """ESPnet3's stage infer and stage 8 of the recipe, from one and the same folder."""
    from espnet_plugin.bin import speechclip_inference
    from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference

    trained = request.getfixturevalue(trained_by)
    threads = {"processes": False, "dashboard_address": None}
    options = {
        "corpus": "tiny",
        "inference_dir": str(recipe / "espnet3"),
        "device": "cpu",
        "parallel": {"n_workers": 1, "options": threads},
    }
    config = load_config("inference", options, exp_tag=trained.name)
    SpeechCLIPSystem(inference_config=config).infer()
    data = tiny_corpus.data
    command = {
        "output_dir": recipe / "espnet2",
        "data_path_and_name_and_type": f"{data}/wav.scp,speech,sound",
        "speechclip_train_config": trained / "config.yaml",
        "speechclip_model_file": trained / AVERAGE,
        "num_workers": 0,
    }
    speechclip_inference.main([w for name, v in command.items() for w in (f"--{name}", str(v))])
    alone = SpeechCLIPInference.from_pretrained(str(trained))(data / "img0_0.wav")
    for branch in ("parallel", "cascaded"):
        file = f"speech_{branch}.npy"
        embeddings = np.load(recipe / "espnet3" / "tiny_test" / file)
        np.testing.assert_allclose(embeddings, np.load(recipe / "espnet2" / file), atol=1e-5)
        np.testing.assert_allclose(embeddings[0], getattr(alone, branch), atol=1e-5)


@pytest.mark.slow
def test_infer_and_measure(experiment: Path, recipe, load_config) -> None:
    from espnet_plugin.data.scp import read_scp
    from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference

    inference_dir = experiment / "inference"
    options = {"corpus": "tiny", "inference_dir": str(inference_dir)}
    threads = {"processes": False, "dashboard_address": None}  # processes take seconds to start
    workers = {"device": "cpu", "parallel": {"n_workers": 2, "options": threads}}
    system = SpeechCLIPSystem(
        inference_config=load_config("inference", options | workers),
        metrics_config=load_config("metrics", options),
    )
    system.infer()
    folder = inference_dir / "tiny_test"
    utterances = (folder / "utterances.txt").read_text().split()
    assert len(utterances) == 12
    embeddings = np.load(folder / "speech_parallel.npy")
    wav = read_scp(recipe / "dump" / "raw" / "tiny_test" / "wav.scp")[utterances[3]]
    single = SpeechCLIPInference(experiment / "config.yaml")(wav).parallel
    np.testing.assert_allclose(embeddings[3], single, atol=1e-5)

    before = (folder / "split.0" / "done").stat().st_mtime_ns
    system.infer()
    assert (folder / "split.0" / "done").stat().st_mtime_ns == before  # is not made again
    weights = load_checkpoint(experiment / AVERAGE)
    (experiment / AVERAGE).unlink()
    torch.save({**weights, "num_updates": torch.tensor(7.0)}, experiment / AVERAGE)
    system.infer()
    assert (folder / "split.0" / "done").stat().st_mtime_ns > before  # another model

    system.measure()
    scores = json.loads((inference_dir / "scores.json").read_text())
    assert scores["parallel"]["speech_to_image"]["recall@1"] >= 0
    assert scores["test_set"] == "tiny_test"
    assert scores["architecture"] == "hybrid+"
    assert "weight_of_parallel" in scores["fusion"]


# a scheduler that runs a job at once: dask-jobqueue removes its script after having submitted it
SBATCH = """#!/bin/bash
cp "$1" "$0.$$.sh"
setsid bash "$0.$$.sh" > "$0.$$.log" 2>&1 &
echo $! >> "$0.jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/bash
for job in "$@"; do kill -- "-$job"; done
"""
WORKERS: dict[str, dict[str, object]] = {
    "local": {"dashboard_address": None},
    "slurm": {
        "queue": "short",
        "cores": 1,
        "processes": 1,
        "memory": "4GiB",
        "walltime": "00:10:00",
        "death_timeout": 600,  # a worker takes its time on a busy machine
        "nanny": False,
        "scheduler_options": {"host": "127.0.0.1", "dashboard_address": None},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("environment", WORKERS)
def test_inference_in_processes(
    environment: str, experiment: Path, recipe, load_config, monkeypatch: pytest.MonkeyPatch
) -> None:
    from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference

    scheduler = recipe / "bin"
    scheduler.mkdir()
    for name, script in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (scheduler / name).write_text(script)
        (scheduler / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{scheduler}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    options = {
        "corpus": "tiny",
        "inference_dir": str(experiment / "inference"),
        "device": "cpu",
        "parallel": {"env": environment, "n_workers": 2, "options": WORKERS[environment]},
    }
    SpeechCLIPSystem(inference_config=load_config("inference", options)).infer()
    folder = experiment / "inference" / "tiny_test"
    assert len(list(folder.glob("split.*/done"))) == 2
    model = SpeechCLIPInference(experiment / "config.yaml")
    wavs = dict(line.split() for line in (recipe / "dump/raw/tiny_test/wav.scp").open())
    embeddings = np.load(folder / "speech_parallel.npy")
    for utterance, embedding in zip(
        (folder / "utterances.txt").read_text().split(), embeddings, strict=True
    ):
        np.testing.assert_allclose(embedding, model(wavs[utterance]).parallel, atol=1e-5)
    if environment == "slurm":
        # ESPnet3 leaves the workers to the end of the process
        subprocess.run([scheduler / "scancel", *(scheduler / "sbatch.jobs").read_text().split()])
        jobs = [path.read_text() for path in scheduler.glob("sbatch.*.sh")]
        assert len(jobs) == 4  # two workers for each of the two sets
        for option in ("-p short", "--cpus-per-task=1", "--mem=4G", "-t 00:10:00"):
            assert all(f"#SBATCH {option}\n" in job for job in jobs)


def test_mixed_precision(recipe, load_config, training_options) -> None:
    training_options["trainer"]["precision"] = "bf16-mixed"
    SpeechCLIPSystem(training_config=load_config("training", training_options)).train()
    weights = load_checkpoint(recipe / "exp" / "a" / AVERAGE)
    for name, value in weights.items():
        assert value.dtype != torch.bfloat16, name
        assert torch.isfinite(value.double()).all(), name


def run_training(recipe: Path, *, wait: bool = True) -> subprocess.Popen:
    """The stage in a process of its own, with the configuration that was made last."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "egs3" / "speechclip_plus" / "run.py")]
        + ["--stages", "train", "--training_config", str(recipe / "training.yaml")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    if wait:
        assert process.wait() == 0
    return process


@pytest.mark.slow
def test_a_killed_training_goes_on(recipe, load_config, training_options) -> None:
    training_options["model"]["max_epoch"] = 12
    experiments = [recipe / "exp" / name for name in ("whole", "killed")]
    load_config("training", training_options, exp_tag="whole")
    run_training(recipe)
    load_config("training", training_options, exp_tag="killed")
    process = run_training(recipe, wait=False)
    while not (experiments[1] / "last.ckpt").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    epochs = torch.load(experiments[1] / "last.ckpt", weights_only=False)["epoch"] + 1
    assert epochs < 12, "killed too late to tell anything"
    run_training(recipe)
    assert_same(*map(last_weights, experiments))
    assert_same(*(experiment / AVERAGE for experiment in experiments))


@pytest.mark.slow
def test_two_processes_train_as_one(recipe, load_config, training_options) -> None:
    training_options["model"] |= {"grad_clip": 1000, "optim": "sgd", "max_epoch": 1}
    training_options["fit"] = {"ckpt_path": None}
    outputs, recalls = [], []
    for processes in (1, 2):
        options = {**training_options, "num_device": processes}
        load_config("training", options, exp_tag=f"{processes}")
        run_training(recipe)
        experiment = recipe / "exp" / f"{processes}"
        outputs.append(experiment / AVERAGE)
        log = (experiment / "train.log").read_text()
        recalls.append(
            re.findall(r"[a-z0-9_]*recall_[a-z0-9_]+=[0-9.]+", log.split("epoch results:")[1])
        )
    assert_same(*outputs, atol=1e-5)
    # over the whole set, independent of each rank's part
    assert len(recalls[0]) >= 9
    assert recalls[0] == recalls[1]
