"""evaluate.sh and scripts/sweep.sh with stand-ins for everything that takes long."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from espnet_plugin.pretrained.released import released_model
from espnet_plugin.pretrained.released_cache import RECORD_FILE, Fetched
from tests.egs2.recipe.test_speechclip_sh import RECIPE, copy_recipe, make_data, write_stand_in
from tests.local_hub import put_in_cache

# Instead of run.sh: notes its options, makes the scores of a run, and fails when it is told to.
FAKE_RUN = r"""#!/usr/bin/env bash
echo "$*" >> calls
tag=
while [ $# -gt 0 ]; do
    case "$1" in --speechclip_tag) tag=$2;; esac
    shift
done
[ -n "${tag}" ] || exit 0
if [[ " ${FAIL:-} " == *" ${tag} "* ]]; then exit 1; fi
mkdir -p "exp/speechclip_${tag}/inference_sweep"
echo '{}' > "exp/speechclip_${tag}/inference_sweep/scores.json"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    recipe = copy_recipe(tmp_path)
    shutil.copy(RECIPE / "evaluate.sh", recipe / "evaluate.sh")
    (tmp_path / "bin").mkdir()
    write_stand_in(tmp_path / "bin" / "python3")
    return recipe


def run(recipe: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = recipe.parents[1]
    variables = {**os.environ, "CALLS": str(root / "calls"), "FAIL": "", **environment}
    variables["PATH"] = f"{root / 'bin'}:{variables['PATH']}"
    return subprocess.run(
        command, cwd=recipe, env=variables, text=True, capture_output=True, timeout=300
    )


def calls(recipe: Path, module: str) -> list[dict[str, str]]:
    lines = map(json.loads, (recipe.parents[1] / "calls").read_text().splitlines())
    found = [line for line in lines if line[0] == "-m" and line[1].endswith("." + module)]
    return [dict(zip(line, [*line[1:], ""], strict=True)) for line in found]


def test_evaluate_runs_a_model_on_other_data(recipe: Path) -> None:
    make_data(recipe)
    experiment = recipe / "exp" / "speechclip_x"
    experiment.mkdir(parents=True)
    (experiment / "config.yaml").write_text("best_model_criterion:\n- - train\n  - loss\n  - min\n")
    (experiment / "train.loss.ave.pth").touch()
    python = str(recipe.parents[1] / "bin" / "python3")
    arguments = ["--model", "exp/speechclip_x/", "--data_dir", "data/tiny_test", "--python", python]
    result = run(recipe, "./evaluate.sh", *arguments)
    assert result.returncode == 0, result.stderr
    assert len((recipe / "dump/evaluate/raw/tiny_test/wav.scp").read_text().splitlines()) == 4
    assert not calls(recipe, "speechclip_train") and not calls(recipe, "speechclip_pack")
    output = "exp/speechclip_x/evaluate_tiny_test"
    (images,) = calls(recipe, "dump_image_embeddings")
    checkpoint = "exp/speechclip_x/train.loss.ave.pth"
    assert images["--model_tag"] == checkpoint
    (inference,) = calls(recipe, "speechclip_inference")
    assert inference["--model_tag"] == checkpoint
    assert inference["--output_dir"] == f"{output}/tiny_test"
    (shown,) = calls(recipe, "score")
    assert (shown["--inference_dir"], shown["--sets"]) == (output, "tiny_test")
    assert shown["--expdir"] == "exp/speechclip_x"
    shutil.copytree(recipe / "data", recipe / "other")
    other = [*arguments[:2], "--data_dir", "other/tiny_test/", "--python", python]
    refused = run(recipe, "./evaluate.sh", *other)
    assert refused.returncode == 1
    assert (
        f"{output} has the results of {checkpoint} on data/tiny_test; name another folder with "
        f"--output_dir for those of {checkpoint} on other/tiny_test\n"
    ) in refused.stderr
    assert len(calls(recipe, "speechclip_inference")) == 1
    assert run(recipe, "./evaluate.sh", *other, "--output_dir", "exp/other").returncode == 0
    assert run(recipe, "./evaluate.sh", *arguments).returncode == 0


def test_evaluate_keeps_the_results_of_another_model_of_the_same_name(recipe: Path) -> None:
    make_data(recipe)
    for folder in ("a/x/model", "b/x"):
        (recipe / folder).mkdir(parents=True)
        for name in ("config.yaml", "model.safetensors"):
            (recipe / folder / name).touch()
    python = str(recipe.parents[1] / "bin" / "python3")
    arguments = ["--data_dir", "data/tiny_test", "--python", python, "--model"]
    first = run(recipe, "./evaluate.sh", *arguments, "a/x/model")
    assert first.returncode == 0, first.stderr
    second = run(recipe, "./evaluate.sh", *arguments, "b/x")
    assert second.returncode == 1
    said = "exp/evaluate_x_tiny_test has the results of a/x/model on data/tiny_test; name another"
    assert said in second.stderr


def test_evaluate_asks_for_the_gpu_before_it_formats_data(recipe: Path) -> None:
    make_data(recipe)
    experiment = recipe / "exp" / "speechclip_x"
    experiment.mkdir(parents=True)
    (experiment / "config.yaml").write_text("best_model_criterion:\n- - train\n  - loss\n  - min\n")
    (experiment / "train.loss.ave.pth").touch()
    python = str(recipe.parents[1] / "bin" / "python3")
    arguments = ["--model", "exp/speechclip_x", "--data_dir", "data/tiny_test", "--python", python]
    result = run(recipe, "./evaluate.sh", *arguments, "--ngpu", "1", CUDA_VISIBLE_DEVICES="")
    assert result.returncode != 0
    assert "GPUs here for PyTorch: 0 of 1" in result.stderr
    assert not (recipe / "dump").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "--model and --data_dir are required"),
        (["--model", "m", "--data_dir", "data/none"], "data/none/wav.scp is missing"),
    ],
)
def test_evaluate_refuses(recipe: Path, options: list[str], message: str) -> None:
    result = run(recipe, "./evaluate.sh", *options)
    assert result.returncode != 0
    assert message in result.stderr


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (["nope"], "--model nope: no such file or directory; expected an exported model"),
        (["exp/x/y"], "--model exp/x/y: no such file or directory"),
        (["exp"], "--model exp: holds no model"),
        (["old.zip"], "old.zip: a zip file, and a model is a folder.*: unzip old.zip -d old"),
        (["exp/speechclip_x"], "--model exp/speechclip_x: holds no model"),
        (["exp/speechclip_x", "--inference_model", "y.pth"], "y.pth: no such.*; there are x.pth"),
    ],
)
def test_evaluate_looks_at_the_model_first(recipe: Path, model: list[str], message: str) -> None:
    make_data(recipe)
    experiment = recipe / "exp" / "speechclip_x"
    experiment.mkdir(parents=True)
    (experiment / "config.yaml").write_text("seed: 0\n")
    (experiment / "x.pth").touch()
    (recipe / "old.zip").touch()
    python = str(recipe.parents[1] / "bin" / "python3")
    options = ["--python", python, "--data_dir", "data/tiny_test", "--model", *model]
    result = run(recipe, "./evaluate.sh", *options)
    assert result.returncode == 1
    assert re.search(message, result.stderr)
    assert not (recipe / "dump").exists()


@pytest.mark.slow
def test_a_released_models_name_is_resolved_once(recipe: Path, tmp_path: Path) -> None:
    name = "flickr8k-base-hybrid-plus"
    model = released_model(name)
    record = Fetched(model.repository, model.path, "0" * 40, "0" * 64, 1)
    directory = tmp_path / "cache" / name
    directory.mkdir(parents=True)
    (directory / RECORD_FILE).write_text(json.dumps(asdict(record)))
    (directory / "config.yaml").touch()
    make_data(recipe)
    python = str(recipe.parents[1] / "bin" / "python3")
    options = ["--model", name, "--python", python]
    cache = str(directory.parent)
    evaluate = ["./evaluate.sh", *options, "--data_dir", "data/tiny_test"]
    output = f"exp/evaluate_{name}_tiny_test"
    stages = ["./speechclip.sh", *options, "--test_sets", "tiny_test", "--speechclip_exp", output]
    for command in (evaluate, stages):
        (recipe.parents[1] / "calls").unlink(missing_ok=True)
        result = run(recipe, *command, SPEECHCLIP_CACHE=cache, HF_HUB_OFFLINE="1")
        assert result.returncode == 0, result.stderr
        (inference,) = calls(recipe, "speechclip_inference")
        assert inference["--model_tag"] == str(directory)
        assert inference["--output_dir"] == f"{output}/tiny_test"
        (shown,) = calls(recipe, "score")
        assert shown["--expdir"] == str(directory)


def test_evaluate_takes_a_name_on_the_hub(recipe: Path, tmp_path: Path) -> None:
    make_data(recipe)
    (tmp_path / "model").mkdir()
    for name in ("config.yaml", "model.safetensors"):
        (tmp_path / "model" / name).touch()
    snapshot = put_in_cache(tmp_path / "model", "owner/x", tmp_path / "hub")
    python = str(recipe.parents[1] / "bin" / "python3")
    options = ["--model", "owner/x", "--data_dir", "data/tiny_test", "--python", python]
    result = run(recipe, "./evaluate.sh", *options, HF_HUB_CACHE=str(tmp_path / "hub"))
    assert result.returncode == 0, result.stderr
    (inference,) = calls(recipe, "speechclip_inference")
    assert inference["--model_tag"] == str(snapshot)
    assert inference["--output_dir"] == "exp/evaluate_x_tiny_test/tiny_test"


@pytest.fixture
def sweep(recipe: Path) -> Path:
    (recipe / "run.sh").write_text(FAKE_RUN)
    (recipe / "local" / "sweep").symlink_to(RECIPE / "local" / "sweep")
    return recipe


OPTIONS = ("--architectures", "cascaded cascaded_plus", "--seeds", "0 1")


def test_sweep_goes_on_where_it_failed(sweep: Path) -> None:
    failing = "sweep_mini_cascaded_seed1"
    result = run(sweep, "scripts/sweep.sh", *OPTIONS, FAIL=failing)
    assert result.returncode == 1
    assert "failed: cascaded, seed 1" in result.stderr
    lines = (sweep / "calls").read_text().splitlines()
    assert len(lines) == 5  # the data once, four runs
    assert "--seed 0 --stop_stage 6" in lines[0]
    assert len((sweep / "exp/sweep_mini/runs.tsv").read_text().splitlines()) == 3
    (sweep / "calls").unlink()
    assert run(sweep, "scripts/sweep.sh", *OPTIONS).returncode == 0
    lines = (sweep / "calls").read_text().splitlines()
    assert len(lines) == 2 and f"--speechclip_tag {failing}" in lines[1]
    assert "--report false" in lines[1]
    names = [line.split("\t")[:2] for line in (sweep / "exp/sweep_mini/runs.tsv").open()]
    assert names == [["cascaded", "0"], ["cascaded_plus", "0"], ["cascaded", "1"],
                     ["cascaded_plus", "1"]]  # fmt: skip
    assert len(calls(sweep, "study")) == 2


def test_sweep_counts_only_runs_of_its_own_options(sweep: Path) -> None:
    options = ["--architectures", "cascaded", "--seeds", "0"]
    assert run(sweep, "scripts/sweep.sh", *options).returncode == 0
    again = run(sweep, "scripts/sweep.sh", *options, "--run_args", "--num_threads 1")
    assert again.returncode == 0 and len((sweep / "calls").read_text().splitlines()) == 2
    config = sweep / "conf/tuning/mini_cascaded.yaml"
    for more, said in (
        (["--run_args", "--vocab_from all"], "vocab_from: none then, all now"),
        ([], "configuration: conf/tuning/mini_cascaded.yaml has changed"),
    ):
        if not more:
            config.write_text("seed: 3\n")
        other = run(sweep, "scripts/sweep.sh", *options, *more)
        assert other.returncode == 1 and said in other.stderr
        assert "failed: cascaded, seed 0, corpus of seed 0" in other.stderr
        assert (sweep / "exp/sweep_mini/runs.tsv").read_text() == ""
        shown = run(sweep, "scripts/sweep.sh", *options, *more, "--dry_run", "true")
        assert shown.stdout == "missing: 0 of 1 runs; made otherwise: 1\n"
    record = sweep / "exp/speechclip_sweep_mini_cascaded_seed0/inference_sweep/made_from.json"
    record.unlink()  # of a version before
    accepted = run(sweep, "scripts/sweep.sh", *options)
    assert accepted.returncode == 0
    assert "with which options it was made is not known" in accepted.stderr


def test_sweep_of_ablations_and_corpora(sweep: Path) -> None:
    options = ["--architectures", "cascaded hybrid_plus", "--seeds", "0", "--corpus_seeds", "0 1"]
    options += ["--ablations", "hybrid_plus.temperature_0.1"]
    shown = run(sweep, "scripts/sweep.sh", *options, "--dry_run", "true")
    assert shown.stdout.splitlines()[-1] == "missing: 6 of 6 runs"
    assert not (sweep / "calls").exists()
    assert run(sweep, "scripts/sweep.sh", *options).returncode == 0
    lines = (sweep / "calls").read_text().splitlines()
    assert [line for line in lines if "--stop_stage 6" in line] == [
        f"--corpus mini --seed {seed} --stop_stage 6 "
        "--speechclip_config conf/tuning/mini_cascaded.yaml --python python3"
        for seed in (0, 1)
    ]
    for seed, tag in (("0", ""), ("1", "corpus1_")):  # each corpus has its own test
        runs = (sweep / f"exp/sweep_mini_corpus0_1/corpus{seed}/runs.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in runs] == [
            *("cascaded", "hybrid_plus", "hybrid_plus.temperature_0.1")
        ]
        assert all(f"exp/speechclip_sweep_mini_{tag}" in line for line in runs)
    measures = "image first (keywords),repeats"
    assert run(sweep, "scripts/sweep.sh", *options, "--measures", measures).returncode == 0
    called = json.loads((sweep.parents[1] / "calls").read_text().splitlines()[-1])
    assert called[-3:] == ["--measures", "image first (keywords)", "repeats"]
    tag = "sweep_mini_corpus1_hybrid_plus.temperature_0.1_seed0"
    ablation = next(line for line in lines if tag in line)
    assert ablation.startswith("--corpus mini --corpus_seed 1 --seed 0 --stage 7 ")
    assert "--speechclip_config conf/tuning/mini_hybrid_plus.yaml" in ablation
    assert "--speechclip_args --quantizer_conf temperature=0.1" in ablation
    bad = run(sweep, "scripts/sweep.sh", "--ablations", "hybrid.none")
    assert bad.returncode == 2 and "ablation hybrid.none is unknown" in bad.stderr
    options = ["--architectures", "hybrid", "--ablations", "all", "--run_args"]
    bad = run(sweep, "scripts/sweep.sh", *options, "--speechclip_args --max_epoch=24")
    assert bad.returncode == 2 and "--run_args would replace" in bad.stderr


def test_all_ablations_are_those_of_the_architectures(sweep: Path) -> None:
    options = ["--architectures", "hybrid", "--seeds", "0", "--ablations", "all"]
    shown = run(sweep, "scripts/sweep.sh", *options, "--dry_run", "true", "--corpus", "mini")
    names = [line.split(",")[0] for line in shown.stdout.splitlines()[:-1]]
    assert names == [
        "to run: hybrid", "to run: hybrid.queries_4", "to run: hybrid.queries_16",
    ]  # fmt: skip


def test_sweep_finds_the_configurations_of_mini_babel(sweep: Path) -> None:
    names = ("parallel", "hybrid_plus", "hybrid_plus_annealed")
    options = ["--architectures", " ".join(names), "--seeds", "0", "--corpus", "mini_babel"]
    shown = run(sweep, "scripts/sweep.sh", *options, "--dry_run", "true")
    expected = [f"to run: {name}, seed 0, corpus of seed 0" for name in names]
    assert shown.stdout.splitlines()[:3] == expected, shown.stderr


def test_sweeps_of_two_languages_keep_their_experiments_apart(sweep: Path) -> None:
    options = ["--architectures", "parallel", "--seeds", "0", "--corpus", "mini_babel"]
    for language in ("es", "sw"):
        more = ["--tag", language, "--run_args", f"--train_set mini_babel_train_{language}"]
        run(sweep, "scripts/sweep.sh", *options, *more)
    calls = (sweep / "calls").read_text().splitlines()
    for language in ("es", "sw"):
        (line,) = [
            line for line in calls if f"--speechclip_tag sweep_mini_babel_{language}_par" in line
        ]
        assert f"--train_set mini_babel_train_{language}" in line
        assert (sweep / f"exp/sweep_mini_babel_{language}/runs.tsv").is_file()


def test_a_choice_is_made_on_dev(sweep: Path) -> None:
    options = ["--architectures", "hybrid", "--seeds", "7", "--evaluate_on", "dev"]
    run(sweep, "scripts/sweep.sh", *options)
    line = (sweep / "calls").read_text().splitlines()[1]
    assert "--test_sets mini_dev" in line and "--inference_tag sweep_dev" in line
    run(sweep, "scripts/sweep.sh", *options, "--corpus_seeds", "2")
    assert "--test_sets mini_seed2_dev" in (sweep / "calls").read_text().splitlines()[3]


def test_sweep_with_several_runs_at_a_time(sweep: Path) -> None:
    assert run(sweep, "scripts/sweep.sh", *OPTIONS, "--jobs", "3").returncode == 0
    lines = (sweep / "calls").read_text().splitlines()
    assert "--stop_stage 6" in lines[0]
    assert sum("--stop_stage 9" in line for line in lines) == len(lines) - 1 == 4
    assert len((sweep / "exp/sweep_mini/runs.tsv").read_text().splitlines()) == 4
    for options, message in (
        (["--corpus_seeds", "x"], "--corpus_seeds must be numbers"),
        (["--evaluate_on", "train"], "--evaluate_on takes the end of a set's name"),
        (["--jobs", "0"], "--jobs must be a positive integer"),
    ):
        bad = run(sweep, "scripts/sweep.sh", *options)
        assert bad.returncode == 2 and message in bad.stderr


def test_sweep_that_is_stopped_leaves_nothing_running(sweep: Path) -> None:
    (sweep / "run.sh").write_text(
        "#!/bin/bash\ncase $* in *--stop_stage\\ 6*) exit 0;; esac\necho $$ >> pids\nsleep 600\n"
    )
    process = subprocess.Popen(
        ["scripts/sweep.sh", *OPTIONS, "--jobs", "2"], cwd=sweep, stderr=subprocess.DEVNULL
    )
    pids = sweep / "pids"
    end = time.monotonic() + 90  # a busy machine
    while time.monotonic() < end and not (pids.exists() and pids.read_text().count("\n") == 2):
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=90) == 130
    for pid in map(int, pids.read_text().split()):
        while time.monotonic() < end and Path(f"/proc/{pid}").exists():
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
