"""The page about classes of your own: its example is trained, packed and loaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.trust import UntrustedModelError
from tests.faults.recipe import command, make_project
from tests.pages import PROJECT, run_page

SMALL = "--batch_size 4 --valid_batch_size 4 --max_epoch 1"


@pytest.mark.slow
def test_the_whole_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_project(tmp_path)
    (recipe / "run.sh").rename(recipe / "recipe.sh")
    options = command("1", sys.executable)[1:-4]  # without the stages
    (recipe / "run.sh").write_text(
        f'exec bash ./recipe.sh {" ".join(options)} --nj 1 --inference_nj 1 "$@" '
        f"--speechclip_args '{SMALL}'\n"
    )
    (recipe / "run.sh").chmod(0o755)
    (recipe / "downloads/mini/wavs").mkdir(parents=True)
    shutil.copy(recipe / "corpus/wavs/0-0.wav", recipe / "downloads/mini/wavs/test_00000_0.wav")
    monkeypatch.chdir(recipe)
    monkeypatch.syspath_prepend(str(recipe))
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
