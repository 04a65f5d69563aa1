from __future__ import annotations

from espnet_plugin.evaluation.report.tables import (
    Table,
    keyword_table,
    retrieval_tables,
    warnings_of,
)


def measures(value: float) -> dict:
    return {"recall@1": value, "recall@10": 2 * value, "median_rank": 7.0}


def test_markdown_table():
    assert Table(("", "a"), (("x", "1"),)).markdown() == "|  | a |\n| --- | ---: |\n| x | 1 |"


def test_retrieval_table_of_one_branch():
    scores = {
        "chance": {"speech_to_image": measures(0.01), "image_to_speech": measures(0.02)},
        "parallel": {"speech_to_image": measures(0.4)},
        "intervals": {
            "parallel": {"speech_to_image": {"recall@1": [0.351, 0.449], "recall@10": [0.59, 1.01]}}
        },
    }
    table = "\n".join(table.markdown() for table in retrieval_tables(scores))
    assert "| parallel | 40.0 (35.1–44.9) | 80.0 (59.0–100.0) | 7 |" in table
    assert "| chance | 2.0 | 4.0 | 7 |" in table
    assert "cascaded" not in table


def test_keyword_table_leaves_out_what_does_not_apply():
    keywords = {
        "subword_hit@1": 0.5,
        "content_word_hit@1": None,
        "mean_keywords": 3.25,
        "left_out": {"subword_hit@1": 4},
        "boundaries": {"precision": 0.5, "recall": 0.25, "f_score": 1 / 3, "tolerance": 0.05,
                       "over_segmentation": None, "r_value": None},
        "boundaries_20ms": {"precision": 0.1, "recall": 0.2, "f_score": 0.15, "r_value": -0.5,
                            "tolerance": 0.02, "over_segmentation": 1.0},
    }  # fmt: skip
    table = keyword_table(keywords, {"subword_hit@1": [0.4, 0.6]}).markdown()
    assert "| 50.0 (40.0–60.0) | nearest sub-word is in the caption | 4 |" in table
    assert "keyword precision" not in table
    assert "3.25" in table
    assert "| 50.0 / 25.0 / 33.3 | word boundaries found, within 50 ms |" in table
    assert "| boundaries: over-segmentation / R-value | 100.0 / -50.0 | word boundaries" in table


def test_columns_and_rows_that_repeat_others_are_hidden() -> None:
    keywords = {"subword_hit@1": 0.5, "word_hit@1": 0.5, "subword_hit@5": 0.7, "word_hit@5": 0.8}
    keywords |= {"mean_keywords": 3.0, "left_out": {"subword_hit@1": 0}}
    same = {"min_score": 0.1, "subword_hit@1": 0.5, "mean_keywords": 3.0}
    table = keyword_table(keywords | {"reported": same}, {})
    assert table.header == ("measure", "% or number", "what")
    names = [row[0] for row in table.rows]
    assert names == ["sub-word hit@1", "sub-word hit@5", "word hit@5", "number of keywords"]
    table = keyword_table(keywords | {"reported": same | {"mean_keywords": 2.5}}, {})
    assert table.header[3:] == ("score ≥ 0.1",)
    assert [row[3] for row in table.rows] == ["50.0", "", "", "2.50"]


def test_a_model_that_picks_words_does_not_segment() -> None:
    scores = {"precision": 0.5, "recall": 0.2, "f_score": 0.3, "r_value": 0.4, "tolerance": 0.05}
    keywords = {"boundaries": scores | {"over_segmentation": -0.5}}
    keywords["boundaries_20ms"] = scores | {"over_segmentation": -0.4}
    assert [row[0] for row in keyword_table(keywords, {}).rows] == [
        "boundaries: precision / recall / F"
    ]
    keywords["boundaries"]["over_segmentation"] = -0.2
    assert len(keyword_table(keywords, {}).rows) == 4


def test_a_recall_of_chance_is_warned_of() -> None:
    chance = {"speech_to_image": measures(0.05)}
    scores = {"chance": chance, "parallel": {"speech_to_image": measures(0.06)}}
    scores["intervals"] = {"parallel": {"speech_to_image": {"recall@10": [0.09, 0.15]}}}
    (warning,) = warnings_of(scores)
    assert warning.startswith("The parallel branch finds no more images than chance: R@10 is ")
    scores["intervals"]["parallel"]["speech_to_image"]["recall@10"] = [0.11, 0.15]
    assert warnings_of(scores) == []
