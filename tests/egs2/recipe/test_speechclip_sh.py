"""The stages as a whole, on three tiny sets, with stand-ins for everything that loads PyTorch."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.bin import recipe
from espnet_plugin.data.record import make_record, write_record
from espnet_plugin.tasks.check import training_options

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "egs2" / "speechclip_plus"
STAGES = RECIPE / "scripts" / "stages"
SETS = ("tiny_train", "tiny_dev", "tiny_test")
STAND_IN = Path(__file__).with_name("stand_in.sh")


def write_stand_in(path: Path) -> Path:
    """Writes the program that stands for Python."""
    real = f"export REAL_PYTHON={sys.executable}"
    path.write_text(f'#!/bin/sh\n{real}\nexec sh {STAND_IN} "$@"\n')
    path.chmod(0o755)
    return path


def copy_recipe(root: Path) -> Path:
    """A project with the recipe in it; stage 1 finds its data ready."""
    recipe = root / "egs2" / "speechclip_plus"
    recipe.mkdir(parents=True)
    for name in ("utils", "scripts", "conf"):
        shutil.copytree(RECIPE / name, recipe / name, symlinks=True)
    for name in ("run.sh", "speechclip.sh", "path.sh", "cmd.sh", "db.sh"):
        shutil.copy(RECIPE / name, recipe / name)
    (root / "espnet_plugin").symlink_to(ROOT / "espnet_plugin")
    (recipe / "local").mkdir()
    data_sh = recipe / "local" / "data.sh"
    data_sh.write_text('#!/bin/sh\necho "$@" > data_sh.arguments\n')
    data_sh.chmod(0o755)
    return recipe


def make_data(recipe: Path) -> None:
    """Two images with two captions each per set; one train recording is missing."""
    for number, name in enumerate(SETS):
        directory = recipe / "data" / name
        directory.mkdir(parents=True)
        files: dict[str, list[str]] = {}
        for image in (f"{number}a", f"{number}b"):
            path = directory / f"{image}.png"
            Image.new("RGB", (4, 4)).save(path)
            files.setdefault("image.scp", []).append(f"{image} {path}")
            for caption in (1, 2):
                key = f"{image}_{caption}"
                wav = directory / f"{key}.wav"
                soundfile.write(wav, np.zeros(8000 * caption), 16000)
                files.setdefault("wav.scp", []).append(f"{key} {wav}")
                files.setdefault("text", []).append(f"{key} a dog")
                files.setdefault("utt2spk", []).append(f"{key} s")
                files.setdefault("utt2image", []).append(f"{key} {image}")
                files.setdefault("utt2lang", []).append(f"{key} {('en', 'sw')[caption - 1]}")
        for file, lines in files.items():
            (directory / file).write_text("".join(line + "\n" for line in lines))
    (recipe / "data" / "tiny_train" / "0a_1.wav").unlink()


class Project:
    """A copied recipe that can be run, and what it called."""

    def __init__(self, root: Path) -> None:
        self.recipe = copy_recipe(root)
        make_data(self.recipe)
        self.calls_file = root / "calls"
        self.python = write_stand_in(root / "python")

    def run(
        self, *options: str, fail: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        self.calls_file.unlink(missing_ok=True)
        command = ["./speechclip.sh", "--train_set", SETS[0], "--valid_set", SETS[1]]
        command += ["--test_sets", SETS[2], "--speechclip_config", "conf/tuning/mini_hybrid.yaml"]
        command += ["--corpus", "tiny", "--python", str(self.python), "--nj", "1", "--ngpu", "0"]
        command += ["--max_bad", "0.5", *options]
        environment = {**os.environ, "CALLS": str(self.calls_file), "FAIL": fail, **variables}
        return subprocess.run(
            command, cwd=self.recipe, env=environment, text=True, capture_output=True, timeout=300
        )

    def calls(self, module: str) -> list[list[str]]:
        lines = self.calls_file.read_text().splitlines()
        calls = [json.loads(line) for line in lines]
        return [call for call in calls if call[:1] == ["-m"] and call[1].endswith("." + module)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which everything has run once."""
    project = Project(tmp_path_factory.mktemp("project"))
    result = project.run("--dump_speech_states", "true", "--inference_nj", "2", "--seed", "3")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the table" in result.stdout
    project.first_output = result.stdout
    project.first_calls = project.calls_file.read_text()
    return project


EXP = "exp/speechclip_tiny_mini_hybrid_seed3"
CLIP_WORDS = ("--stage", "5", "--vocab_from", "clip")
NAMING = "--model_conf naming_weight=1"
OWN = "--keyword_norm torch.nn:Identity"


def test_all_stages_left_their_results(project: Project) -> None:
    recipe = project.recipe
    assert (
        (recipe / "data_sh.arguments")
        .read_text()
        .startswith("--corpus tiny --data_dir data --nj 1")
    )
    train = recipe / "dump" / "raw" / "tiny_train"
    for name in ("wav.scp", "text", "utt2image_id", "image_feat.scp", "speech_states.scp"):
        keys = [line.split()[0] for line in (train / name).read_text().splitlines()]
        assert keys == ["0a_2", "0b_1", "0b_2"], name  # 0a_1 has no recording
    embeddings = recipe / "dump" / "clip_ViT-B-32-quickgelu_openai_tiny"
    scp = (embeddings / "image_embedding.scp").read_text()
    assert [line.split()[0] for line in scp.splitlines()] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    shapes = recipe / "exp" / "speechclip_stats_raw_tiny_train" / "train" / "speech_shape"
    assert shapes.read_text() == (train / "utt2num_samples").read_text()
    seconds = json.loads((recipe / EXP / "stage_seconds.json").read_text())
    assert list(seconds) == [str(n) for n in range(1, 11)]
    assert (recipe / EXP / "model").is_dir()


def test_what_cannot_be_used_stops_the_recipe_before_stage_4(project: Project) -> None:
    result = project.run("--stop_stage", "4", "--max_bad", "0")
    assert result.returncode == 1 and not project.calls("dump_image_embeddings")
    assert "cannot be used: 1 of 4; the first: 0a_1: " in result.stderr
    assert "tiny_train/0a_1.wav: no such file. All are listed in dump/raw/org/" in result.stderr


def test_training_is_called_with_the_right_data(project: Project) -> None:
    project.calls_file.write_text(project.first_calls)
    (call,) = project.calls("launch")
    for word in (
        "dump/raw/tiny_train/speech_states.scp,speech_states,frames",
        "dump/raw/tiny_train/image_feat.scp,image,npy",
        "dump/raw/tiny_dev/utt2image_id,image_id,text_int",
        "model=facebook/hubert-base-ls960",
        "pretrained=openai",
        "conf/tuning/mini_hybrid.yaml",
    ):
        assert word in call
    assert call[call.index("--seed") + 1] == "3"
    languages = call.index("--spoken_languages")
    assert call[languages + 1 : languages + 3] == ["en", "sw"]
    inference = project.calls("speechclip_inference")
    assert len(inference) == 6  # two jobs and their merge, of dev and test
    assert sum("--merge" in call for call in inference) == 2
    # dev and test are used whole: no limits of duration
    filtered = [call for call in project.calls("datadir") if call[2] == "filter"]
    assert [call[-1] for call in filtered if "--min_seconds" in call] == ["30"]
    assert ["dump/raw/tiny_train" in call for call in filtered] == [True, False, False]


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ((), ""),
        (("--dump_speech_states", "true", "--speech_upstream", "s3prl:wavlm_base:x.pt"), ""),
        (("--speechclip_args", "--batch_sise 3"), "--batch_sise: did you mean --batch_size?"),
        (CLIP_WORDS, ""),
        ((*CLIP_WORDS, "--speechclip_args", NAMING), "this corpus has no captions"),
        ((*CLIP_WORDS, "--vocab_text", "general", "--speechclip_args", NAMING), ""),
        (("--stop_stage", "8", "--speechclip_args", OWN), "without --trust_remote_code true"),
        (("--stop_stage", "8", "--speechclip_args", OWN, "--trust_remote_code", "true"), ""),
        (("--speechclip_args", OWN), ""),  # no stage 8 that would refuse it
    ],
)
def test_the_programs_take_the_options_of_their_calls(
    project: Project, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], refused: str
) -> None:
    """The stand-ins take everything; what they got goes to the programs themselves."""
    stages = ("--stage", "7", "--stop_stage", "7", "--speechclip_exp", "exp/options")
    assert project.run(*stages, *options).returncode == 0
    monkeypatch.chdir(project.recipe)
    (checked,) = [call for call in project.calls("recipe") if call[2] == "options"]
    (trained,) = project.calls("speechclip_train")
    monkeypatch.setattr("espnet_plugin.tasks.upstream.require_upstream", lambda *_, **__: None)
    if refused:
        with pytest.raises(SystemExit, match=re.escape(refused)):
            recipe.main(checked[2:])
        return
    recipe.main(checked[2:])
    found = training_options(trained[2:])
    assert found["train_shape_file"] and found["output_dir"] == ["exp/options"]


def test_an_english_text_takes_the_place_of_captions(project: Project) -> None:
    recipe = project.recipe
    (recipe / "my words.tsv").write_text("dog\t3\n")
    text = recipe / "data/tiny_train/text"
    written = text.read_text()
    text.unlink()  # nobody wrote down what is said, so only --vocab_text can give words
    stages = ("--stage", "2", "--stop_stage", "5", "--seed", "3")
    clip = "data/token_list/clip_ViT-B-32-quickgelu_openai"
    found = {}
    for given in ("my words.tsv", "general"):
        first = "5" if found else "2"
        options = ("--stage", first, "--vocab_from", "clip", "--vocab_text", given)
        result = project.run(*stages, *options)
        assert result.returncode == 0, result.stderr
        (call,) = project.calls("keyword_vocabulary")
        found[given] = call[2:4], call[-1]
    refused = project.run(*stages)
    text.write_text(written)
    assert project.run("--stage", "2", "--stop_stage", "6", "--seed", "3").returncode == 0
    assert refused.returncode == 1 and "text: missing" in refused.stderr
    assert found == {
        "my words.tsv": (["--vocab_text", "my words.tsv"], f"{clip}/words_my_words.tsv.tsv"),
        "general": (
            ["--general_words", "data/token_list/general_english.tsv"],
            f"{clip}/words_general.tsv",
        ),
    }


def test_hidden_states_are_made_with_the_options_of_the_training(project: Project) -> None:
    stage = ("--dump_speech_states", "true", "--stage", "6", "--stop_stage", "6")
    more = ("--speechclip_args", "--speech_encoder_conf normalize_waveform=false --max_epoch 2")
    assert project.run(*stage, *more, "--speech_upstream", "owner/name").returncode == 0
    for call in project.calls("dump_speech_states"):
        assert call[call.index("--") :] == [
            *("--", "--config", "conf/tuning/mini_hybrid.yaml", "--speech_encoder", "huggingface"),
            *("--speech_encoder_conf", "model=owner/name"),
            *("--speech_encoder_conf", "normalize_waveform=false", "--max_epoch", "2"),
        ]


def test_training_takes_the_picture_embeddings_of_its_own_clip(project: Project) -> None:
    table = project.recipe / "dump/raw/tiny_dev/image_feat.scp"
    own = table.read_text()
    table.write_text(own.replace("clip_ViT-B-32-quickgelu_openai_tiny/", "clip_ViT-B-16_tiny/"))
    result = project.run("--stage", "7", "--stop_stage", "7")
    table.write_text(own)
    assert result.returncode == 1 and not project.calls("launch")
    assert "image_feat.scp: the image embeddings are not of dump/clip_" in result.stderr


def test_it_may_be_started_by_bash(project: Project) -> None:
    command = ["bash", "speechclip.sh", "--help"]
    done = subprocess.run(command, cwd=project.recipe, capture_output=True, text=True, timeout=60)
    assert "--train_set" in done.stdout + done.stderr


def test_utterances_without_hidden_states_are_left_out(project: Project) -> None:
    stage = ("--stage", "6", "--stop_stage", "6", "--dump_speech_states", "true")
    shape = project.recipe / "exp/speechclip_stats_raw_tiny_train/train/speech_shape"
    for unreadable, keys in (("0b_1", ["0a_2", "0b_2"]), ("", ["0a_2", "0b_1", "0b_2"])):
        assert project.run(*stage, UNREADABLE=unreadable).returncode == 0
        assert [line.split()[0] for line in shape.read_text().splitlines()] == keys


def test_skipping_and_choosing_stages(project: Project) -> None:
    result = project.run("--skip_data_prep", "true", "--skip_stages", "6 8", "--stop_stage", "9")
    assert result.returncode == 1  # an experiment of another name has no inference yet
    assert "is missing; run the earlier stages" in result.stderr
    assert len(project.calls("launch")) == 1
    assert project.calls("dump_image_embeddings") == project.calls("speechclip_inference") == []


def test_wav_input_without_stored_states(project: Project) -> None:
    options = ["--stage", "7", "--stop_stage", "7", "--speechclip_args", "--max_epoch 2"]
    result = project.run(*options, "--speech_upstream", "s3prl:wavlm_base:x.pt")
    assert result.returncode == 0, result.stderr
    (call,) = project.calls("launch")
    assert "dump/raw/tiny_train/wav.scp,speech,sound" in call
    assert call[call.index("--speech_encoder") + 1] == "s3prl"
    assert "model=wavlm_base" in call
    assert "checkpoint=x.pt" in call
    assert call[-2:] == ["--max_epoch", "2"]
    assert "exp/speechclip_tiny_mini_hybrid_max_epoch2" in call


@pytest.mark.parametrize(
    "stored, loss", [("x.pt", "ours"), ("evil.pt", "ours"), ("x.pt", "os:exit")]
)
def test_only_the_upstream_of_this_call_is_trusted(
    project: Project, stored: str, loss: str
) -> None:
    """An experiment from elsewhere names what it likes; ``s3prl:NAME:FILE`` is the user's word."""
    experiment = project.recipe / "exp" / "from_elsewhere"
    experiment.mkdir(exist_ok=True)
    conf = {"model": "mockingjay_local", "checkpoint": stored}
    config = {"speech_encoder": "s3prl", "speech_encoder_conf": conf, "loss": loss}
    config["clip_conf"] = {"model": "ViT-B-32-quickgelu"}
    (experiment / "config.yaml").write_text(json.dumps(config))
    (experiment / "valid.recall_mean_at_1.ave.pth").touch()
    options = ["--speechclip_exp", "exp/from_elsewhere", "--inference_nj", "1"]
    options += ["--clip_model", "ViT-B-32-quickgelu", "--stage", "8", "--stop_stage", "8"]
    result = project.run(*options, "--speech_upstream", "s3prl:mockingjay_local:x.pt")
    assert result.returncode == 0, result.stderr
    trusted = [("--trust_remote_code" in call) for call in project.calls("speechclip_inference")]
    assert set(trusted) == {(stored, loss) == ("x.pt", "ours")}


def test_a_lock_that_leads_elsewhere_is_refused(project: Project, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    experiment = project.recipe / "exp" / "linked"
    experiment.mkdir()
    (experiment / ".lock").symlink_to(outside)
    options = ["--speechclip_exp", "exp/linked", "--stage", "7", "--stop_stage", "7"]
    result = project.run(*options)
    assert result.returncode == 1 and "is a link" in result.stderr
    assert outside.read_text() == "mine"


def test_failed_training_shows_its_log(project: Project) -> None:
    result = project.run("--stage", "7", "--stop_stage", "7", fail="launch")
    assert result.returncode == 1
    assert "training failed; see exp/speechclip_tiny_mini_hybrid/launch.log" in result.stderr
    assert "launch fails as it was told to" in result.stderr


def test_stage_11_uploads_the_packed_model(project: Project) -> None:
    options = ["--stage", "11", "--seed", "3", "--skip_upload_hf", "false"]
    for content in ("a model", "broken"):
        (project.recipe / EXP / "model" / "config.yaml").write_text(content)
        result = project.run(*options, "--hf_repo", "user/name")
        assert ("a model" in result.stdout) == (result.returncode == 0) == (content == "a model")
        assert ["upload", f"{EXP}/model", "user/name"] in [
            call[2:] for call in project.calls("recipe")
        ]
    assert "nothing was uploaded" in result.stderr


def test_it_is_started_again_only_where_that_goes_on(project: Project) -> None:
    options = ["--stage", "7", "--stop_stage", "7", "--speechclip_tag", "broken"]
    broken = project.run(*options, BREAKS="yes")
    assert broken.returncode == 1 and "out of memory" in broken.stderr
    assert "see exp/speechclip_broken/train.log. Start stage 7 again to resume" in broken.stderr
    # what a training says to stale hidden states it says again
    refused = project.run(*options, fail="speechclip_train")
    assert "training failed; see exp/speechclip_broken/train.log\n" in refused.stderr


def test_a_later_start_keeps_what_the_training_left(project: Project) -> None:
    options = ["--stage", "7", "--stop_stage", "7", "--speechclip_tag", "kept"]
    folder = project.recipe / "exp" / "speechclip_kept"

    def found(name: str) -> str:
        return (folder / name).read_text()

    assert project.run(*options, "--seed", "2").returncode == 0
    assert "the training's log, seed 2" in found("train.log")
    assert "--seed 2" in found("run.sh")
    # no GPU: nothing is touched
    result = project.run(*options, "--seed", "3", "--ngpu", "1", CUDA_VISIBLE_DEVICES="")
    assert result.returncode == 1
    assert "GPUs here for PyTorch: 0 of 1" in result.stderr
    assert project.calls("launch") == []
    assert "the training's log, seed 2" in found("train.log")
    # started and failed at once; started and had nothing to do
    assert project.run(*options, "--seed", "4", fail="launch").returncode == 1
    assert "the training's log, seed 2" in found("train.log")
    result = project.run(*options, "--seed", "5", fail="speechclip_train")
    assert "speechclip_train fails as it was told to" in result.stderr
    assert "training failed; see exp/speechclip_kept/train.log" in result.stderr
    assert project.run(*options, "--seed", "6", FINISHED="yes").returncode == 0
    assert "the training's log, seed 2" in found("train.2.log")
    assert "--seed 2" in found("run.sh")
    assert project.run(*options, "--seed", "7").returncode == 0
    assert "--seed 7" in found("run.sh")
    assert (folder / "run.sh").stat().st_mode & 0o111


def test_the_last_lines(project: Project) -> None:
    output = project.first_output
    assert "what packing says" not in output
    assert "what packing says" in (project.recipe / EXP / "pack.log").read_text()
    *_, done, _, scores, both, page, use = output.splitlines()
    assert "Successfully finished stages 1 2 3 4 5 6 7 8 9 10 in " in done
    assert scores == "tiny_test, parallel: R@1 50.0 %, R@10 93.5 % (speech → image)"
    assert both == "tiny_test, fusion: R@1 60.0 %, R@10 97.0 % (speech → image)"
    inference = "inference_decode_valid.recall_mean_at_1.ave"
    assert use == f"Use:   speechclip keywords RECORDING --model {EXP}/model"
    assert page == f"Open:  {EXP}/{inference}/report.html"
    stage = ("--stage", "9", "--stop_stage", "9", "--seed", "3")
    result = project.run(
        *stage,
        SPEECHCLIP_CALLED_FROM=str(project.recipe.parents[1]),
        SPEECHCLIP_CALL="./run.sh --seed 3 --stage 9 --speechclip_config conf/a.yaml ",
    )
    first, *_, page, _ = result.stdout.splitlines()
    assert first.endswith(" ./run.sh --seed 3 --stage 9 --speechclip_config conf/a.yaml ")
    assert page == f"Open:  egs2/speechclip_plus/{EXP}/{inference}/report.html"
    (project.recipe / EXP / inference / "report.html").unlink()
    result = project.run(*stage, "--report", "false")
    assert result.stdout.splitlines()[-2] == f"Open:  {EXP}/{inference}/RESULTS.md"


def test_commas_between_skipped_stages(project: Project) -> None:
    result = project.run("--skip_stages", "1,2, 3", "--stop_stage", "4")
    assert result.returncode == 0
    assert "Stages: 4\n" in result.stdout
    assert "Successfully finished stage 4 in" in result.stdout


def test_upload_is_not_passed_over_in_silence(project: Project) -> None:
    options = ["--stage", "10", "--seed", "3", "--hf_repo", "user/name"]
    result = project.run(*options)
    assert result.returncode == 0
    assert " s; nothing is uploaded without --skip_upload_hf false" in result.stdout
    assert "uploaded" not in project.run("--stage", "10", "--seed", "3").stdout


@pytest.mark.parametrize(
    ("given", "handed_on"),
    [
        ("old.pth", "old.pth:::num_updates"),
        ("old.pth:a.b:c", "old.pth:a.b:c:num_updates"),
        ("old.pth:::loss", "old.pth:::loss,num_updates"),
    ],
)
def test_a_pretrained_model_starts_at_update_0(
    project: Project, given: str, handed_on: str
) -> None:
    (project.recipe / "old.pth").write_text("weights")
    options = ["--stage", "7", "--stop_stage", "7", "--speechclip_tag", "tuned"]
    result = project.run(*options, "--pretrained_model", given)
    assert result.returncode == 0, result.stderr
    (call,) = project.calls("launch")
    assert call[call.index("--init_param") + 1] == handed_on


def test_the_choice_is_made_among_the_images_of_training_too(project: Project) -> None:
    stage = ("--stage", "9", "--stop_stage", "9", "--seed", "3")
    for chosen in (True, False):
        assert project.run(*stage, "--eval_valid_set", str(chosen).lower()).returncode == 0
        (call,) = project.calls("score")
        assert ("dump/raw/tiny_train" in call) == chosen


def test_results_of_other_data_are_not_scored(project: Project) -> None:
    folder = project.recipe / EXP / "inference_decode_valid.recall_mean_at_1.ave" / SETS[2]
    text = project.recipe / "dump" / "raw" / SETS[2] / "text"
    options = ["--stage", "9", "--stop_stage", "9", "--seed", "3"]
    write_record(folder, make_record("inference", {}, inputs={"text": text}))
    assert project.run(*options).returncode == 0
    before = text.read_text()
    text.write_text("another\n")
    result = project.run(*options)
    text.write_text(before)
    assert result.returncode == 1
    assert "text has changed" in result.stderr and "run stage 8 again" in result.stderr


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--speechclip_config", "none.yaml"], 1, "none.yaml: no such file; conf/tuning has"),
        (["--speechclip_config", "mini_hybrd"], 1, "did you mean conf/tuning/mini_hybrid.yaml?"),
        (["--speechclip_confg", "x"], 2, "'--speechclip_confg' (did you mean speechclip_config?)"),
        (["--speech_upstream", "wisper:x"], 1, "wisper is not known (did you mean whisper?)"),
        (["--train_set", ""], 2, "--train_set is required"),
        (["--stage", "x"], 1, "--stage takes a whole number, not 'x'"),
        (["--vocab_from", "x"], 1, "takes train, all or clip"),
        (["--vocab_text", "x"], 1, "--vocab_text x: no such file, or empty. Give English"),
        (["x"], 2, "no positional arguments"),
        (["--skip_stages", "1,12"], 1, "stages from 1 to 11, separated by commas or spaces"),
        (["--stage", "2", "--stop_stage", "3", "--skip_data_prep", "true"], 1, "left to run from"),
        (["--stage", "11"], 1, "nothing is uploaded without --skip_upload_hf false --hf_repo"),
        (["--skip_upload_hf", "false"], 1, "--hf_repo is needed"),
        (["--stage", "8", "--speechclip_tag", "none"], 1, "config.yaml is missing"),
        (
            ["--stage", "8", "--speechclip_exp", EXP]
            + ["--speechclip_config", "conf/tuning/flickr8k_base_hybrid.yaml"],
            1,
            "/valid.parallel_recall_mean_at_10.ave.pth is missing; there are",
        ),
        (["--python", "/bin/false"], 1, "environment is not complete"),
    ],
)
def test_errors(project: Project, options: list[str], code: int, message: str) -> None:
    result = project.run(*options)
    assert result.returncode == code
    assert message in result.stderr


def test_run_sh_names_the_corpora(project: Project) -> None:
    shown = subprocess.run(["./run.sh", "--help"], cwd=project.recipe, capture_output=True)
    assert shown.returncode == 0
    assert b"--speechclip_config" in shown.stdout
    assert b"--corpus flickr8k" in shown.stdout


SMALL = ["--speechclip_config", "conf/tuning/small_hybrid_plus_annealed.yaml"]


@pytest.mark.parametrize(
    ("corpus", "train_set"),
    [
        (["digits"], "digits_train"),
        (["custom", "--custom_root", "local", *SMALL], "custom_local_train"),
    ],
)
def test_the_encoder_is_that_of_the_repository_unless_you_name_another(
    tmp_path: Path, corpus: list[str], train_set: str
) -> None:
    """The states of one do not take the place of the other's."""
    recipe = copy_recipe(tmp_path)
    script = (recipe / "speechclip.sh").read_text()
    end = script.index("# shellcheck source=scripts/stages/locks.sh")  # all options are known there
    said = 'echo "${speech_encoder} ${upstream_name} ${upstream_tag} ${train_set}"'
    (recipe / "speechclip.sh").write_text(script[:end] + f"{said}\n")
    options = ["--corpus", *corpus, "--python", sys.executable, "--stop_stage", "5"]
    upstreams = (["--speech_upstream", "facebook/hubert-base-ls960"], [])
    named, default = (
        subprocess.run(
            ["./run.sh", *options, *upstream], cwd=recipe, text=True, capture_output=True
        )
        .stdout.splitlines()[-1]
        .split()
        for upstream in upstreams
    )
    assert named[:2] == ["huggingface", "facebook/hubert-base-ls960"]
    assert default[:2] == ["whisper", "models/digits/speech_encoder"]
    assert named[2] != default[2] and named[3] == default[3] == train_set


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--corpus", "x"], "flickr8k, spokencoco or custom"),
        (["--corpus", "custom"], "needs --custom_root DIR"),
        (["--corpus", "flickr8k", "--corpus_seed", "1"], "flickr8k has no seed"),
        (["--corpus_seed", "x"], "--seed and --corpus_seed take whole numbers, not 'x'"),
        (["--corpus", "flickr8k", "--download", "maybe"], "takes true or false, not 'maybe'"),
        (["--corpus", "mini", "--download", "true"], "db.sh says where mini lies"),
        (["--schedule_from_corpus", "false"], "gone: num_iters_per_epoch of the configuration"),
    ],
)
def test_run_sh_refuses(project: Project, options: list[str], message: str) -> None:
    result = subprocess.run(
        ["./run.sh", *options], cwd=project.recipe, text=True, capture_output=True
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert message in result.stderr


@pytest.mark.parametrize(
    ("lines", "most", "jobs"),
    [
        ("a 1\nb 2\n", 3, 2),
        ("a 1\nb 2", 1, 1),
        ("a 1\r\nb 2\r\n\r\n", 8, 2),
        ("", 4, 1),
        ("a 1\n", 0, 1),
    ],
)
def test_no_job_has_an_empty_part(tmp_path: Path, lines: str, most: int, jobs: int) -> None:
    path = tmp_path / "dump=1" / "wav.scp"
    path.parent.mkdir()
    path.write_text(lines)
    call = f". {STAGES}/helpers.sh\njobs_of {path.relative_to(tmp_path)} {most}"
    found = subprocess.check_output(["bash", "-c", call], cwd=tmp_path, text=True)
    assert int(found) == jobs


def test_run_sh_hands_its_call_on(tmp_path: Path) -> None:
    recipe = copy_recipe(tmp_path)
    (recipe / "speechclip.sh").write_text('#!/bin/sh\necho "${SPEECHCLIP_CALL}"\n')
    call = ["./run.sh", "--seed", "3", "--speechclip_args", "--max_epoch 2"]
    result = subprocess.run(call, cwd=recipe, text=True, capture_output=True)
    assert shlex.split(result.stdout) == call


@pytest.mark.parametrize("corpus", ["mini", "mini_babel", "digits", "flickr8k",
                                    "spokencoco", "custom"])  # fmt: skip
def test_each_corpus_gets_its_hybrid_plus_model(tmp_path: Path, corpus: str) -> None:
    recipe = copy_recipe(tmp_path)
    (recipe / "speechclip.sh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    call = ["./run.sh", "--corpus", corpus, "--custom_root", "local"]
    words = subprocess.check_output(call, cwd=recipe, text=True).splitlines()
    *_, chosen = (value for name, value in pairwise(words) if name == "--speechclip_config")
    name = (recipe / chosen).resolve().name
    assert name.endswith("_hybrid_plus.yaml")
    assert name.startswith(corpus)


@pytest.mark.parametrize("corpus", ["mini", "mini_babel", "digits"])
@pytest.mark.parametrize(
    ("seeds", "suffix", "seed"),
    [
        ([], "", "0"),
        (["--seed", "3"], "_seed3", "3"),
        (["--seed", "3", "--corpus_seed", "0"], "", "3"),
        (["--corpus_seed", "3", "--seed", "4"], "_seed3", "4"),
    ],
)
def test_a_corpus_of_another_seed_has_another_name(
    tmp_path: Path, corpus: str, seeds: list[str], suffix: str, seed: str
) -> None:
    recipe = copy_recipe(tmp_path)
    (recipe / "speechclip.sh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    call = ["./run.sh", "--corpus", corpus, *seeds]
    words = subprocess.check_output(call, cwd=recipe, text=True).splitlines()
    given = dict(pairwise(words))  # the last value counts, as in speechclip.sh
    name = corpus + suffix
    assert (given["--corpus"], given["--seed"]) == (name, seed)
    assert (given["--train_set"], given["--valid_set"]) == (f"{name}_train", f"{name}_dev")
    assert given["--test_sets"].split()[0] == f"{name}_test"
    assert all(each.startswith(f"{name}_") for each in given["--test_sets"].split())
    assert given["--clip_model"] == f"downloads/{name}/clip/mini_clip.json"
    assert given["--clip_pretrained"] == f"downloads/{name}/clip/mini_clip.safetensors"
    own = f"downloads/{name}/hubert"
    whisper = "whisper:models/digits/speech_encoder"
    assert given["--speech_upstream"] == (whisper if corpus == "digits" else own)


@pytest.mark.parametrize(
    ("call", "corpus"),
    [
        (["--corpus", "flickr8k"], "flickr8k_espeak"),
        (["--corpus", "spokencoco", "--seed", "2"], "spokencoco_espeak_seed2"),
        (["--corpus", "custom", "--custom_root", "local", "--corpus_seed", "1"],
         "custom_local_espeak_seed1"),
    ],
)  # fmt: skip
def test_synthetic_voices_get_sets_of_their_own(
    tmp_path: Path, call: list[str], corpus: str
) -> None:
    recipe = copy_recipe(tmp_path)
    (recipe / "speechclip.sh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    command = ["./run.sh", *call, "--speak", "true"]
    words = subprocess.check_output(command, cwd=recipe, text=True).splitlines()
    given = dict(pairwise(words))
    assert given["--corpus"] == corpus and given["--train_set"] == f"{corpus}_train"
    assert given["--local_data_opts"].strip() == "--speak true"


@pytest.mark.parametrize(
    ("value", "said"),
    [("true", "mini has recordings"), ("yes", "--speak takes true or false, not 'yes'")],
)
def test_what_synthetic_voices_do_not_say(tmp_path: Path, value: str, said: str) -> None:
    command = ["./run.sh", "--speak", value]
    result = subprocess.run(command, cwd=copy_recipe(tmp_path), text=True, capture_output=True)
    assert result.returncode == 2 and said in result.stderr


def test_a_corpus_that_has_no_seed_takes_0(tmp_path: Path) -> None:
    recipe = copy_recipe(tmp_path)
    (recipe / "speechclip.sh").write_text('#!/bin/sh\necho "$@"\n')
    call = ["./run.sh", "--corpus", "flickr8k", "--corpus_seed", "0", "--seed", "3"]
    shown = subprocess.check_output(call, cwd=recipe, text=True)
    assert shown.startswith("--corpus flickr8k --seed 3 ")


@pytest.mark.parametrize(
    ("corpus", "seed", "experiment"),
    [
        ("mini", "0", "mini_hybrid"),
        ("mini_seed3", "3", "mini_hybrid_seed3"),
        ("mini_seed3", "0", "mini_hybrid_corpus3_seed0"),
        ("mini", "3", "mini_hybrid_corpus0_seed3"),
        ("mini_babel_seed3", "3", "mini_babel_mini_hybrid_seed3"),
        ("photos_espeak", "0", "photos_espeak_mini_hybrid"),
        ("photos_espeak_seed3", "3", "photos_espeak_mini_hybrid_seed3"),
        ("custom_mini_seed3", "3", "custom_mini_seed3_mini_hybrid_seed3"),
    ],
)
def test_trainings_on_corpora_of_two_seeds_have_two_names(
    project: Project, corpus: str, seed: str, experiment: str
) -> None:
    options = ["--corpus", corpus, "--seed", seed, "--stage", "7", "--stop_stage", "7"]
    assert f"-> exp/speechclip_{experiment}\n" in project.run(*options).stdout


@pytest.mark.slow
def test_embeddings_and_words_of_corpora_of_two_seeds_lie_side_by_side(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (project.recipe / "words").write_text("dog\n")
    options = ["--clip_model", "mini_clip.json", "--clip_pretrained", "random"]
    options += ["--vocab_text", "words", "--stop_stage", "5"]
    (project.recipe / "mini_clip.json").write_text("{}")
    for corpus, stage in (("mini", "2"), ("mini_seed3", "4")):
        result = project.run("--corpus", corpus, "--stage", stage, *options)
        assert result.returncode == 0, result.stderr
    clips = sorted(path.name for path in (project.recipe / "dump").glob("clip_*"))
    assert clips == ["clip_mini_clip", "clip_mini_clip_mini_seed3"]
    lists = sorted(path.name for path in (project.recipe / "data/token_list").glob("*/*"))
    assert lists == ["words_words.tsv", "words_words_seed3.tsv"]


def test_every_option_is_explained_in_the_help(project: Project) -> None:
    script = (STAGES / "options.sh").read_text()
    options = script[script.index("# General\n") : script.index("help_message=")]
    names = [line.split("=")[0] for line in options.splitlines() if line[:1].isalpha()]
    shown = subprocess.run(
        ["./speechclip.sh", "--help"], cwd=project.recipe, text=True, capture_output=True
    ).stdout
    explained = re.findall(r"^    --(\w+) +\S.*$", shown, flags=re.MULTILINE)
    assert len(names) > 40 and explained == names
    assert "\nGeneral\n    --stage                first stage to run (default: 1)\n" in shown
    assert "\nPublishing\n    --hf_repo " in shown
    assert "--valid_set            validation set (required)\n" in shown
