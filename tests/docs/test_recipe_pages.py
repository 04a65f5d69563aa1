"""The pages that run the recipe: on noise, with tiny frozen models, one Python for all steps."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.trust import UntrustedModelError
from tests.faults.recipe import command, make_project
from tests.faults.warm_python import warm_python
from tests.pages import PROJECT, run_page

SMALL = "--batch_size 4 --valid_batch_size 4 --max_epoch 1"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A program that forks a Python for each command; PyTorch is imported once."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with warm_python(tmp_path_factory.mktemp("python") / "warm", environment) as program:
        yield program


@pytest.fixture
def recipe(tmp_path: Path, python: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The recipe's folder, which is the current directory."""
    folder = make_project(tmp_path)
    (folder / "run.sh").rename(folder / "recipe.sh")
    set_options(folder, f"--python {python}")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PAGES_PYTHON", str(python))
    return folder


def set_options(recipe: Path, before: str, after: str = "") -> None:
    """Lets ``run.sh`` add options before those of its call, which can replace them, and behind."""
    small = "--nj 1 --inference_nj 1 --num_threads 1"
    (recipe / "run.sh").write_text(f'exec bash ./recipe.sh {before} {small} "$@" {after}\n')
    (recipe / "run.sh").chmod(0o755)


@pytest.mark.slow
def test_a_class_of_ones_own_is_trained_packed_and_loaded(recipe: Path, python: Path) -> None:
    options = command("1", str(python))[1:-4]  # without the stages
    set_options(recipe, " ".join(options), f"--speechclip_args '{SMALL}'")
    (recipe / "downloads/mini/wavs").mkdir(parents=True)
    shutil.copy(recipe / "corpus/wavs/0-0.wav", recipe / "downloads/mini/wavs/test_00000_0.wav")
    prepare = ["bash", "run.sh", "--stage", "1", "--stop_stage", "6"]
    subprocess.run(prepare, check=True, capture_output=True)
    names = run_page(PROJECT / "docs" / "extending.md")
    extractor = names["model"].model.keyword_branch.extractor
    assert type(extractor).__name__ == "EvenKeywords"
    assert extractor.frames_per_keyword == 22
    names["model"].min_score = -1.0  # after one epoch, hardly a word is worth reporting
    keywords = names["model"].keywords("downloads/mini/wavs/test_00000_0.wav")
    assert keywords[0].end - keywords[0].start == pytest.approx(22 * 0.02)
    with pytest.raises(UntrustedModelError, match="keyword_extractor 'even_keywords:EvenKeywords'"):
        load_speechclip(names["packed"])


@pytest.mark.slow
def test_a_language_without_writing_from_recordings_to_a_glossary(
    recipe: Path, python: Path, capfd: pytest.CaptureFixture
) -> None:
    """The page's configuration has tiny frozen models, also in place of mHuBERT-147."""
    set_options(recipe, f"--python {python}", "--speech_upstream models/hubert")
    (recipe / "corpus").rename(recipe / "my_language")
    (recipe / "my_language" / "corpus.tsv").unlink()  # the page needs none
    (recipe / "english.txt").write_text("a red dog runs over green grass\ntwo children play ball\n")
    training = yaml.safe_load((recipe / "conf" / "tiny.yaml").read_text())
    training |= {
        "clip_conf": {
            "model": "models/tiny_clip.json",
            "pretrained": "models/tiny_clip.safetensors",
        },
        "model_conf": {"parallel": True, "naming_weight": 1.0},  # which the text makes possible
        "max_epoch": 1,
    }
    named = recipe / "conf" / "tuning" / "small_hybrid_plus_annealed.yaml"
    named.write_text(yaml.safe_dump(training))
    run_page(PROJECT / "docs" / "tutorials" / "unwritten.md")
    assert not (recipe / "data" / "custom_my_language_train" / "text").exists()
    printed = capfd.readouterr().out
    summary = (recipe / "data/local/custom_my_language/summary.txt").read_text()
    assert "pairs: by the names of the files" in summary
    assert "This model learned from speech in sw." in printed
    with (recipe / "words" / "words.tsv").open() as file:
        words = list(csv.DictReader(file, dialect="excel-tab"))
    assert len({row["recording"] for row in words}) == 24
    assert len([*(recipe / "words").glob("*.eaf")]) == 24
    assert {row["word"] for row in words} <= set((recipe / "english.txt").read_text().split())
    with (recipe / "glossary" / "glossary.tsv").open() as file:
        places = list(csv.DictReader(file, dialect="excel-tab"))
    assert places and all((recipe / "glossary" / row["snippet"]).is_file() for row in places)
    assert min(float(row["score"]) for row in places) >= 0.1
    assert "speech in sw" in (recipe / "glossary" / "index.html").read_text()
