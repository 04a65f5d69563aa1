from __future__ import annotations

import json
import os
import re
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.evaluation.fusion import branch_of
from espnet_plugin.evaluation.report.write import write_results
from espnet_plugin.evaluation.scores.experiment import checkout_commit, choices, environment
from espnet_plugin.evaluation.scores.retrieval import score_retrieval_directory

MEASURES = {"recall@1", "recall@5", "recall@10", "median_rank"}
KEYWORD_MEASURES = {
    "subword_hit@1",
    "subword_hit@5",
    "word_hit@1",
    "content_word_hit@1",
    "content_word_recall",
    "duplicate_rate",
    "mean_keywords",
    "mean_subwords",
}


def test_scores_json_has_the_promised_keys(inference_dir):
    experiment = inference_dir.parent
    (experiment / "config.yaml").write_text(
        "seed: 7\nkeyword_extractor: cif\nmodel_conf: {parallel: false}\n"
    )
    (experiment / "stage_seconds.json").write_text('{"1": 2.5, "7": 10}')
    write_results(inference_dir, dev_set="dev", figures=False)
    scores = json.loads((inference_dir / "scores.json").read_text())
    for branch in ("parallel", "cascaded", "fusion", "chance"):
        for direction in ("speech_to_image", "image_to_speech"):
            assert set(scores[branch][direction]) >= MEASURES
    for direction in ("text_to_image", "image_to_text"):
        assert set(scores["teacher"][direction]) >= MEASURES
        assert set(scores["chance"][direction]) >= MEASURES
    assert set(scores["keywords"]) >= KEYWORD_MEASURES
    assert scores["keywords"]["subword_hit@1"] == pytest.approx(2 / 3)
    assert scores["keywords"]["subword_hit@5"] == 1.0
    assert scores["keywords"]["content_word_recall"] == pytest.approx(1 / 4)
    assert set(scores["keywords"]["reported"]) >= KEYWORD_MEASURES
    assert choices(scores) == {
        "min_score": scores["keywords"]["reported"]["min_score"],
        "fusion_weight": scores["fusion"]["weight_of_parallel"],
        "branch": branch_of(scores["fusion"]["weight_of_parallel"]),
    }
    assert scores["test_set"] == "test"
    assert (scores["images"], scores["utterances"]) == (6, 12)
    assert scores["architecture"] == "cascaded+"
    assert scores["seed"] == 7
    assert scores["seconds"] == {"1": 2.5, "7": 10}
    page = (inference_dir / "RESULTS.md").read_text()
    assert "| parallel |" in page
    assert "| CLIP reading the caption |" in page
    assert "| keyword precision |" in page
    assert "| score ≥ " not in page  # as dev's limit keeps all keywords
    assert "| all | 12.5 |" in page
    assert "python 3" in page
    shown = (inference_dir / "report.html").read_text()
    assert scores["fusion"]["images_of_choice"] == 6
    for text in (page, shown):
        assert "A random order of 6 images has an R@10 of 100 %, so R@10 says nothing" in text
        assert "The weight was selected on dev in a search of 6 images" in text


def test_the_choice_says_how_many_images_dev_searched(inference_dir: Path, tmp_path: Path) -> None:
    """Those of dev and one of training; the cascaded branch is the images of dev themselves."""
    images = np.load(inference_dir / "dev" / "image.npy")
    np.save(inference_dir / "dev" / "speech_cascaded.npy", np.repeat(images, 2, axis=0))
    np.save(inference_dir / "dev" / "speech_parallel.npy", -np.repeat(images, 2, axis=0))
    np.save(tmp_path / "one.npy", images[0])
    (tmp_path / "utt2image").write_text("x one\n")
    (tmp_path / "image_feat.scp").write_text(f"x {tmp_path / 'one.npy'}\n")
    scores = write_results(inference_dir, dev_set="dev", train_dir=tmp_path, figures=False)
    assert scores["fusion"]["images_of_choice"] == 7
    weight = scores["fusion"]["weight_of_parallel"]
    found = f"Fusion: {weight:g} × parallel + {1 - weight:g} × cascaded. The weight "
    found += "was selected on dev in a search of 7 images."
    for name in ("RESULTS.md", "report.html"):
        assert found in (inference_dir / name).read_text()
    np.save(inference_dir / "dev" / "speech_parallel.npy", np.repeat(images, 2, axis=0))
    write_results(inference_dir, dev_set="dev", figures=False)
    alone = "of 6 images, so Python, search and the demo page rank by the parallel branch alone."
    for name in ("RESULTS.md", "report.html"):
        assert alone in (inference_dir / name).read_text()


def test_the_cost_of_training_is_reported(inference_dir):
    log = "1epoch results: [train] cpu_seconds=12.500, loss=1.000, [valid] loss=2.000\n"
    (inference_dir.parent / "train.log").write_text(log)
    scores = write_results(inference_dir, figures=False)
    assert scores["training_cpu_seconds"] == 12.5


def test_other_speakers_are_reported(inference_dir, tmp_path):
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    speakers = zip(utterances, "ababababaaaa", strict=True)
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {name}\n" for utt, name in speakers))
    (inference_dir / "test" / "text.npy").unlink()
    scores = write_results(inference_dir, data_dir=tmp_path, figures=False)
    assert scores["without_other_speaker"] == 4
    assert set(scores["parallel"]["speech_to_speech"]) >= MEASURES
    page, report = ((inference_dir / name).read_text() for name in ("RESULTS.md", "report.html"))
    assert "of other speakers, which leaves out 4 utterances, whose image no" in page
    assert "| chance | " in page.partition("| speech → speech | R@1 |")[2]
    assert "those of other speakers; 4 without one are left out." in report


def test_a_model_without_cascaded_branch(inference_dir):
    for name in ("speech_cascaded.npy", "keywords.jsonl", "text.npy"):
        (inference_dir / "test" / name).unlink()
    scores = write_results(inference_dir, figures=False)
    assert scores["architecture"] == "parallel"
    assert "keywords" not in scores and "cascaded" not in scores and "teacher" not in scores
    assert "## Keywords" not in (inference_dir / "RESULTS.md").read_text()


def test_stale_scores_are_made_again(inference_dir):
    test = inference_dir / "test"
    old = score_retrieval_directory(test)
    np.save(test / "speech_parallel.npy", np.repeat(np.load(test / "image.npy"), 2, axis=0))
    os.utime(test / "speech_parallel.npy", (1, 1))  # older than the scores, and yet another file
    scores = write_results(inference_dir, figures=False)
    assert scores["parallel"]["speech_to_image"]["recall@1"] == 1.0
    assert old["parallel"]["speech_to_image"]["recall@1"] < 1.0


def test_damaged_alignments_and_recordings_do_not_stop_the_report(inference_dir, tmp_path, caplog):
    pytest.importorskip("matplotlib")
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    (tmp_path / "a.wav").write_bytes(b"no recording")
    (tmp_path / "wav.scp").write_text("".join(f"{u} {tmp_path}/a.wav\n" for u in utterances))
    (tmp_path / "words.ctm").write_bytes(b"\xff\xfe\x00 damaged")
    scores = write_results(inference_dir, data_dir=tmp_path)
    assert "boundaries" not in scores["keywords"]
    assert "keywords are scored without their places" in caplog.text
    assert "recordings are drawn without word alignments" in caplog.text
    assert "i1_0 is not drawn: " in caplog.text
    assert "## Figures" not in (inference_dir / "RESULTS.md").read_text()


def test_both_reports_say_which_texts_are_translations(inference_dir, tmp_path):
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    languages = [f"{u} {'en' if n else 'sw'}\n" for n, u in enumerate(utterances)]
    (tmp_path / "utt2lang").write_text("".join(languages))
    write_results(inference_dir, data_dir=tmp_path, figures=False)
    page = (inference_dir / "RESULTS.md").read_text()
    report = (inference_dir / "report.html").read_text()
    for text in (page, report):
        assert "The speech of 1 utterance of the 12 is not English." in text
        assert "Keywords by language" in text
    assert "| sw | 1 | 25.0 | " in page and '<td class="number">25.0</td>' in report
    (tmp_path / "utt2lang").unlink()
    write_results(inference_dir, data_dir=tmp_path, figures=False)
    assert "is not English" not in (inference_dir / "RESULTS.md").read_text()
    assert "by language" not in (inference_dir / "report.html").read_text()


@pytest.mark.slow
def test_all_figures(inference_dir, tmp_path):
    pytest.importorskip("matplotlib")
    soundfile = pytest.importorskip("soundfile")
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 14400), 16000)
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    (data / "wav.scp").write_text("".join(f"{u} {data / 'a.wav'}\n" for u in utterances))
    ctm = "".join(f"{u} 1 0.0 0.4 red\n{u} 1 0.4 0.5 dog\n" for u in utterances)
    (data / "words.ctm").write_text(ctm)
    np.save(inference_dir / "test" / "layer_weights.npy", np.full(3, 1 / 3))
    log = "1epoch results: [train] loss=1.000, [valid] loss=2.000\n"
    (inference_dir.parent / "train.log").write_text(log)
    scores = write_results(inference_dir, data_dir=data)
    page = (inference_dir / "RESULTS.md").read_text()
    for name in ("learning_curve", "layer_weights"):
        place = f"test/figures/{name}"
        assert (inference_dir / f"{place}.svg").stat().st_size > 3000
        assert f"]({place}.svg)" in page
    assert scores["keywords"]["boundaries"]["predicted"] == 24  # three segments each
    report = (inference_dir / "report.html").read_text()
    assert report.count("<figure id=") == page.count("![") == 2
    assert report.count('class="sc-timeline"') == 3
    assert report.count('class="sc-end"') == 9  # three keywords each
    assert report.count('class="sc-title">said<') == 3
    captions = re.findall("<figcaption>(.*?)</figcaption>", report)
    assert captions[0] == "3 keywords of “a red dog runs”"
    assert f"{date.today()} · set test" in report


def test_a_models_folder_has_the_name_of_its_experiment(inference_dir, tmp_path):
    folder = tmp_path / "speechclip_red" / "model"
    folder.mkdir(parents=True)
    write_results(inference_dir, experiment=folder, figures=False, report=False)
    text = (inference_dir / "RESULTS.md").read_text()
    assert text.lstrip().startswith("# Results of speechclip_red\n")


def test_which_set(inference_dir):
    (inference_dir / "test").rename(inference_dir / "other")
    with pytest.raises(ValueError, match=r"\['dev', 'other'\]: say which"):
        write_results(inference_dir, figures=False)


@pytest.mark.parametrize(
    ("branches", "name"),
    [
        ({"parallel"}, "parallel"),
        ({"cascaded"}, "cascaded"),
        ({"parallel", "cascaded"}, "hybrid"),
    ],
)
def test_without_a_configuration_the_branches_tell(inference_dir, branches, name):
    for missing in {"parallel", "cascaded"} - branches:
        (inference_dir / "test" / f"speech_{missing}.npy").unlink()
    (inference_dir / "test" / "keywords.jsonl").unlink()
    scores = write_results(inference_dir, figures=False, report=False)
    assert scores["architecture"] == name


def test_environment():
    assert environment()["python"].startswith("3.")


def commit_all(repository: Path) -> str:
    """Commits what the folder holds, and returns the commit."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "all"]):
        subprocess.run(["git", *command], cwd=repository, check=True)
    head = ["git", "rev-parse", "HEAD"]
    return subprocess.check_output(head, cwd=repository, text=True).strip()


def test_the_commit_is_not_that_of_an_enclosing_repository(tmp_path):
    (tmp_path / "README").write_text("a checkout, ours or somebody else's")
    commit = commit_all(tmp_path)
    packages = tmp_path / "env" / "lib"
    packages.mkdir(parents=True)
    assert checkout_commit(tmp_path) == commit[:12]
    assert checkout_commit(packages) is None
