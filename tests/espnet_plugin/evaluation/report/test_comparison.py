from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.bin.recipe import main as recipe
from espnet_plugin.evaluation.report.comparison import choose_recordings
from espnet_plugin.evaluation.report.tables import comparison_table
from espnet_plugin.evaluation.report.write import write_results
from tests.espnet_plugin.evaluation.conftest import RED
from tests.espnet_plugin.evaluation.report.test_render import Checker, data_dir  # noqa: F401

NAN = float("nan")


def test_the_best_the_median_and_the_worst_are_of_different_images() -> None:
    named = np.array([1.0, 0.5, NAN, 1.0, 0.0, 0.5, 0.25, 1.0, 0.75, 0.1, 0.2, 0.3, 0.4, 0.0])
    right = np.array([0.5, 0.5, 1.00, 1.0, NAN, 1.0, 1.00, 1.0, 1.00, 1.0, 1.0, 1.0, 1.0, 1.0])
    images = [f"i{row}" for row in range(len(named))]
    # in order: 3, 7, 0, 8, 5, 1, 12, 11, 6, 10, 9, 13, 4; row 2 has no content words
    assert choose_recordings(named, right, images=images) == {
        "best": [3, 7, 0],
        "median": [5, 1, 12, 11],
        "worst": [9, 13, 4],
    }
    images[7] = images[3]  # the next one takes its place
    images[12] = images[4]
    assert choose_recordings(named, right, images=images) == {
        "best": [3, 0, 8],
        "median": [5, 1, 11, 6],
        "worst": [9, 13, 4],
    }


def test_a_small_set_is_shown_once() -> None:
    chosen = choose_recordings(np.array([0.0, 1.0]), np.ones(2), images=["a", "b"])
    assert chosen == {"best": [1, 0], "median": [], "worst": []}


def scores(name: str, first: float, **more: dict) -> dict:
    recall = {"recall@1": first, "recall@10": 0.9}
    return {
        "architecture": name,
        "images": 6,
        "parallel": {"speech_to_image": recall},
        "teacher": {"text_to_image": {"recall@1": 0.8, "recall@10": 1.0}},
        "chance": {"speech_to_image": {"recall@1": 1 / 6, "recall@10": 1.0}},
        "keywords": {
            "content_word_hit@1": 0.5,
            "content_word_recall": 0.25,
            "duplicate_rate": None,
            **more,
        },
    }


def test_the_table_has_what_models_report() -> None:
    reported = {
        "content_word_hit@1": 0.75,
        "content_word_recall": 0.125,
        "duplicate_rate": 0.0,
        "min_score": 0.3,
    }
    other = scores("hybrid+ annealed", 0.625, reported=reported)
    other["fusion"] = {"speech_to_image": {"recall@1": 1.0, "recall@10": 1.0}}
    table, meaning = comparison_table(
        {"hybrid+": scores("hybrid+", 0.5), "hybrid+ annealed": other}
    )
    assert table.header == (
        "in %",
        "R@1",
        "R@10",
        "keyword recall",
        "keyword precision",
        "repeats",
    )
    assert table.rows == (
        ("chance", "16.7", "100.0", "–", "–", "–"),
        ("hybrid+", "50.0", "90.0", "25.0", "50.0", "–"),
        ("hybrid+ annealed", "62.5", "90.0", "12.5", "75.0", "0.0"),
        ("CLIP reading the caption", "80.0", "100.0", "–", "–", "–"),
    )
    assert "(speech → image, parallel)" in meaning  # only one of them has fusion
    assert "of 6 images." in meaning
    assert "(speech → image, fusion)" in comparison_table({"hybrid+ annealed": other})[1]


@pytest.fixture
def models(inference_dir: Path) -> list[Path]:
    """Two experiments on one set; in the second, the first utterance has one right keyword."""
    other = inference_dir.parents[1] / "speechclip_other"
    shutil.copytree(inference_dir.parent, other)
    config = "keyword_extractor: cif\nquantizer_conf: {hard: %s}\n"
    for experiment, hard in ((inference_dir.parent, "true"), (other, "false")):
        (experiment / "config.yaml").write_text(config % hard)
    file = other / "inference" / "test" / "keywords.jsonl"
    first, *rest = file.read_text().splitlines()
    record = json.loads(first)
    del record["keywords"][1:]
    record["caption_ids"] = [RED]
    file.write_text("\n".join([json.dumps(record), *rest]) + "\n")
    return [inference_dir, other / "inference"]


@pytest.mark.slow
def test_the_page_compares_what_was_heard(
    models: list[Path],
    data_dir: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for directory in models:
        write_results(directory, data_dir=data_dir, figures=False)
    page = tmp_path / "exp" / "demo" / "compare.html"
    monkeypatch.setenv("SPEECHCLIP_CALLED_FROM", str(tmp_path))
    arguments = ["compare", *map(str, models), "--data_dir", str(data_dir), "--page", str(page)]
    recipe(arguments)
    shown = capsys.readouterr().out
    table, _, rest = shown.partition("\n\n")
    assert [line.split("  ")[0] for line in table.splitlines()] == [
        *("in %", "----", "chance", "hybrid+", "hybrid+ annealed"),
        "CLIP reading the caption",
    ]
    assert rest.splitlines()[-1] == "Open:  exp/demo/compare.html"

    text = page.read_text()
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert checker.count("article") == checker.count("audio") == 6  # one of each image
    sources = [found["src"] for _, found in checker.seen if "src" in found]
    assert sources and all(source.startswith("data:") for source in sources)
    first = text[text.index("<article") : text.index("</article>")]
    assert "<b>hybrid+ annealed</b>, keyword recall: 100&nbsp;%" in first
    assert "red <small>0.00–0.30</small>" in first
    links = [found["href"] for found in checker.attributes("a")]
    assert links[-1] == "../speechclip_other/inference/report.html"
    assert (page.parent / links[-1]).is_file()

    scores_file = models[1] / "scores.json"
    scores_file.write_text(scores_file.read_text().replace("hybrid+ annealed", "hybrid+"))
    recipe(arguments)
    text = page.read_text()
    assert "<b>hybrid+ (speechclip_other)</b>, keyword recall: 100&nbsp;%" in text
    assert text.count('class="sc-title">hybrid+') == 12  # two models, six recordings

    keywords = models[1] / "test" / "keywords.jsonl"
    keywords.write_text("".join(keywords.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(SystemExit, match="hold other recordings: evaluate the models on one set"):
        recipe(arguments)
    keywords.unlink()
    with pytest.raises(SystemExit, match="/test: no keywords with captions"):
        recipe(arguments)
    (data_dir / "wav.scp").unlink()
    with pytest.raises(SystemExit, match="data: wav.scp lacks recordings of "):
        recipe(["compare", str(models[0]), *arguments[3:]])
