from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.evaluation.report.tables import language_table
from espnet_plugin.evaluation.retrieval import rank_embeddings, summarize
from espnet_plugin.evaluation.scores.retrieval import (
    rank_across,
    rank_set,
    retrieval_scores,
    score_retrieval_directory,
)
from espnet_plugin.utils.errors import DataError


def test_report_holds_every_direction(inference_dir):
    data = read_inference_set(inference_dir / "test")
    ranks = rank_set(data, fusion_weight=0.5)
    report = retrieval_scores(data, ranks)
    speech = {"speech_to_image", "image_to_speech", "speech_to_text", "text_to_speech"}
    for system in ("parallel", "cascaded", "fusion"):
        assert set(report[system]) == speech
    assert set(report["teacher"]) == {"text_to_image", "image_to_text"}
    assert set(report["chance"]) == speech | set(report["teacher"])
    assert report["chance"]["speech_to_image"]["recall@1"] == pytest.approx(1 / 6)
    assert report["chance"]["image_to_speech"]["recall@1"] == pytest.approx(2 / 12)
    forth, _ = rank_embeddings(data.parallel, data.image, data.image_of, data.images)
    expected = summarize(forth).recall[1]
    assert report["parallel"]["speech_to_image"]["recall@1"] == expected
    lower, upper = report["intervals"]["parallel"]["speech_to_image"]["recall@1"]
    assert 0 <= lower <= expected <= upper <= 1
    assert (report["images"], report["utterances"]) == (6, 12)


def test_one_branch_alone(inference_dir):
    (inference_dir / "test" / "speech_cascaded.npy").unlink()
    (inference_dir / "test" / "text.npy").unlink()
    data = read_inference_set(inference_dir / "test")
    assert set(rank_set(data, fusion_weight=0.5)) == {"parallel"}
    (inference_dir / "test" / "speech_parallel.npy").unlink()
    with pytest.raises(ValueError, match="neither speech nor text"):
        rank_set(read_inference_set(inference_dir / "test"))


def speakers(folder: Path, names: str) -> dict[str, str]:
    """A speaker for each of the set's utterances, written into a data directory."""
    found = {f"i{n // 2}_{n % 2}": name for n, name in enumerate(names)}
    (folder / "utt2spk").write_text("".join(f"{utt} {name}\n" for utt, name in found.items()))
    return found


def test_other_speakers_are_searched(inference_dir: Path, tmp_path: Path) -> None:
    of = speakers(tmp_path, "ababababaaab")  # the two of i4 are by one speaker
    test, dev = inference_dir / "test", inference_dir / "dev"
    report = score_retrieval_directory(test, dev_directory=dev, data_dir=tmp_path)
    assert report["without_other_speaker"] == 2
    data, weight = read_inference_set(test), report["fusion"]["weight_of_parallel"]
    cosines = {
        "parallel": data.parallel @ data.parallel.T,
        "cascaded": data.cascaded @ data.cascaded.T,
    }
    cosines["fusion"] = weight * cosines["parallel"] + (1 - weight) * cosines["cascaded"]
    for system, matrix in cosines.items():
        ranks = []
        for row, utterance in enumerate(data.utterances):
            kept = [c for c, u in enumerate(data.utterances) if of[u] != of[utterance]]
            images = [data.image_of[c] for c in kept]
            if data.image_of[row] in images:
                scores = matrix[row : row + 1, kept]
                wanted = np.array(images) == data.image_of[row]
                ranks.append(1 + np.sum(scores[:, ~wanted] >= scores[:, wanted].max() - 1e-6))
        found = report[system]["speech_to_speech"]
        assert found["mean_rank"] == np.mean(ranks) and len(ranks) == 10
        assert found["recall@1"] == np.mean(np.array(ranks) == 1)
        assert set(report["intervals"][system]["speech_to_speech"]) >= {"recall@1", "median_rank"}
    # a has seven utterances, b five; each finds one relevant among those of the other
    mean = (5 / 5 + 5 / 7) / 10
    assert report["chance"]["speech_to_speech"]["recall@1"] == pytest.approx(mean)


def test_sets_without_another_speaker_have_no_row(inference_dir: Path, tmp_path: Path) -> None:
    test = inference_dir / "test"
    before = score_retrieval_directory(test)
    assert score_retrieval_directory(test, data_dir=tmp_path) == before  # no utt2spk
    speakers(tmp_path, "aabbccddeeff")
    assert score_retrieval_directory(test, data_dir=tmp_path) == before
    assert "without_other_speaker" not in before
    data = read_inference_set(test)
    with pytest.raises(ValueError, match="test: utt2spk has no speaker of utterance i3_0"):
        rank_across(data, speakers(tmp_path, "ababab"))


def test_other_languages_are_searched_and_each_is_scored(
    inference_dir: Path, tmp_path: Path
) -> None:
    test = inference_dir / "test"
    speakers(tmp_path, "ababababaabb")  # the two of i4 and of i5 are in one language
    (tmp_path / "utt2spk").rename(tmp_path / "utt2lang")
    report = score_retrieval_directory(test, data_dir=tmp_path)
    assert report["without_other_language"] == 4 and "without_other_speaker" not in report
    data = read_inference_set(test)
    of, image_of = np.array(list("ababababaabb")), np.array(data.image_of)
    found = []
    for row in range(8):
        others = of != of[row]
        cosines = data.parallel[others] @ data.parallel[row]
        right = image_of[others] == image_of[row]
        found.append(1 + np.sum(cosines[~right] >= cosines[right].max() - 1e-6))
    assert report["parallel"]["speech_to_other_languages"]["mean_rank"] == np.mean(found)
    forth, _ = rank_embeddings(data.parallel, data.image, data.image_of, data.images)
    for language, scores in report["languages"].items():
        assert scores["parallel"]["mean_rank"] == np.mean(forth.rank[of == language])
        assert scores["parallel"]["recall@1"] == np.mean(forth.rank[of == language] == 1)
    table = language_table(report["languages"])
    assert [row[:2] for row in table.rows if row[1] == "parallel"] == [
        ("a", "parallel"),
        ("b", "parallel"),
    ]
    with pytest.raises(ValueError, match="test: utt2lang has no language of utterance i0_0"):
        rank_across(data, {}, table="utt2lang")


def test_intervals_heed_the_recordings_that_utterances_share(inference_dir, tmp_path, caplog):
    test = inference_dir / "test"
    alone = score_retrieval_directory(test)["intervals"]
    names = (test / "utterances.txt").read_text().split()
    table = [f"{name} {'ab'[n % 2]} {name}\n" for n, name in enumerate(names)]
    (test / "utt2recordings").write_text("".join(table))
    scores = score_retrieval_directory(test, data_dir=tmp_path)
    assert scores["recordings"] == 2 + 12
    linked = scores["intervals"]
    assert linked["teacher"] == alone["teacher"]  # it reads
    for direction in ("speech_to_image", "image_to_speech", "text_to_speech"):
        assert linked["parallel"][direction] != alone["parallel"][direction]
    assert not caplog.records
    (test / "utt2recordings").rename(tmp_path / "utt2recordings")  # outputs of before
    assert score_retrieval_directory(test)["intervals"] == alone
    assert "take it that no two utterances share a recording" in caplog.text
    with pytest.raises(DataError, match=f"{test} lacks utt2recordings, which {tmp_path} has; run"):
        score_retrieval_directory(test, data_dir=tmp_path)
