from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.keyword_rates import best_min_score, keyword_values, keywords_above
from espnet_plugin.evaluation.scores.keyword_scores import keyword_scores

TEXTS = {
    1: "a</w>",
    2: "red</w>",
    3: "dog</w>",
    4: "skate",
    5: "boarding</w>",
    6: "cat</w>",
    7: "of</w>",
    8: "the</w>",
}


def utterance(caption_ids, tops, name="u", caption=""):
    keywords = tuple(Keyword(top[0], TEXTS.get(top[0], "?"), tuple(top)) for top in tops)
    return UtteranceKeywords(name, caption, tuple(caption_ids), keywords)


def test_every_rate_by_hand():
    # Caption: a red dog skateboarding. Heard: red, red, cat (dog among its five nearest), a, the.
    spoken = utterance([1, 2, 3, 4, 5], [[2], [2], [6, 49407, 3], [1], [8, 6]])
    means = keyword_scores([spoken], TEXTS)
    assert means["subword_hit@1"] == pytest.approx(3 / 5)
    assert means["subword_hit@5"] == pytest.approx(4 / 5)
    assert means["word_hit@1"] == pytest.approx(3 / 5)
    assert means["word_hit@5"] == pytest.approx(4 / 5)
    assert means["content_word_hit@1"] == pytest.approx(2 / 3)  # of red, red, cat
    assert means["content_word_recall"] == pytest.approx(1 / 4)  # of red, dog, skate-, -boarding
    assert means["precision"] == pytest.approx(2 / 4)  # of red, cat, a, the
    assert means["duplicate_rate"] == pytest.approx(1 / 5)
    assert means["content_words_exact"] == 0
    assert means["mean_keywords"] == 5
    assert means["mean_subwords"] == 5
    assert means["mean_count_difference"] == 0


def test_the_example_of_the_page() -> None:
    """docs/evaluation.md: what is said is "a skateboarder jumps over a dog"."""
    pieces = "a skate boarder jumps over dog wheel".split()
    texts = {i: text if text == "skate" else f"{text}</w>" for i, text in enumerate(pieces, 1)}
    ids = {text: i for i, text in enumerate(pieces, 1)}
    keywords = tuple(
        Keyword(ids[text], texts[ids[text]], (ids[text],))
        for text in "boarder dog dog wheel a".split()
    )
    caption = tuple(ids[text] for text in "a skate boarder jumps over a dog".split())
    scores = keyword_scores([UtteranceKeywords("u", "", caption, keywords)], texts)
    page = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text("utf-8")
    _, _, example = page.partition("## A worked example")
    rows = re.findall(r"^\| `(\S+)` \| .* \| (\d)/(\d) \|$", example, re.MULTILINE)
    assert len(rows) == 5
    assert {name: scores[name] for name, _, _ in rows} == pytest.approx(
        {name: int(part) / int(whole) for name, part, whole in rows}
    )


def test_all_content_words_must_be_named_in_order_and_as_often_as_said():
    caption = [1, 2, 2, 3]  # a red red dog
    heard = [[[2], [2], [1], [3]], [[2], [3]], [[3], [2], [2]], [[2], [2], [6], [3]]]
    spoken = [utterance(caption, tops, f"u{n}") for n, tops in enumerate(heard)]
    values = keyword_values(spoken, TEXTS)["content_words_exact"]
    assert values.tolist() == [1, 0, 0, 0]


def test_special_tokens_take_no_place_among_the_nearest():
    fifth, sixth = [6, 49406, 49407, 0, 8, 1, 2, 3], [6, 49406, 49407, 0, 8, 1, 2, 4, 3]
    means = keyword_scores([utterance([3], [fifth, sixth])], TEXTS)
    assert means["subword_hit@1"] == 0.0
    assert means["subword_hit@5"] == 0.5
    with_end = keyword_scores([utterance([3, 49407], [[49407, 3]])], TEXTS)
    assert with_end["subword_hit@1"] is None  # the keyword itself is a special token
    assert with_end["mean_subwords"] == 1


def test_sub_words_that_make_up_a_word_are_one_word():
    def scores(pieces: list[int], *, gap: float = 0.0) -> dict:
        """Of one second each, at intervals."""
        keywords = tuple(
            Keyword(i, TEXTS[i], (i,), start := n * (1 + gap), start + 1)
            for n, i in enumerate(pieces)
        )
        return keyword_scores([UtteranceKeywords("u", "", (1, 4, 5), keywords)], TEXTS)

    assert scores([4, 5])["word_hit@1"] == 1.0
    wrong = scores([4, 3])  # "skatedog"
    assert wrong["word_hit@1"] == 0.0
    assert wrong["subword_hit@1"] == 0.5
    apart = scores([4, 5], gap=0.1)  # inference shows two words: "skate", "boarding"
    assert apart["word_hit@1"] == 0.0
    assert apart["subword_hit@1"] == 1.0


def test_utterances_without_applicable_keyword_are_left_out_and_counted():
    only_function_words = utterance([1, 3], [[1], [7]], "u1")
    good = utterance([1, 3], [[3]], "u2")
    silent = utterance([1, 3], [], "u3")
    scores = keyword_scores([only_function_words, good, silent], TEXTS)
    assert scores["content_word_hit@1"] == 1.0
    assert scores["left_out"]["content_word_hit@1"] == 2
    assert scores["subword_hit@1"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["left_out"]["duplicate_rate"] == 1
    assert scores["content_word_recall"] == pytest.approx(1 / 3)
    assert scores["mean_keywords"] == 1.0
    assert scores["left_out"]["mean_keywords"] == 0
    values = keyword_values([only_function_words, good, silent], TEXTS)
    assert np.isnan(values["content_word_hit@1"]).tolist() == [True, False, True]


def test_rates_are_means_over_utterances_not_over_keywords():
    long = utterance([2], [[6], [6], [6], [2]], "long")
    short = utterance([2], [[2]], "short")
    assert keyword_scores([long, short], TEXTS)["subword_hit@1"] == (0.25 + 1) / 2


def test_unknown_tokens_are_an_error():
    with pytest.raises(ValueError, match="u: token id 99"):
        keyword_scores([utterance([99], [[1]])], TEXTS)
    with pytest.raises(ValueError, match="no utterance"):
        keyword_scores([], TEXTS)


def test_the_best_min_score_drops_what_is_mostly_wrong():
    # right: red 0.5, dog 0.3; wrong: cat 0.4 and 0.1. At 0.28, hit 2/3 and recall 1 are best
    heard = ((2, 0.5), (6, 0.4), (3, 0.3), (6, 0.1))
    keywords = tuple(Keyword(i, TEXTS[i], (i,), score=score) for i, score in heard)
    spoken = UtteranceKeywords("u", "red dog", (2, 3), keywords)
    least = best_min_score([spoken], TEXTS)
    assert least == 0.12  # the lowest of those that keep three
    [above] = keywords_above(least, [spoken])
    assert [word.score for word in above.keywords] == [0.5, 0.4, 0.3]
    assert best_min_score([utterance([2], [[8]])], TEXTS) == -1  # no keyword is a content word
