from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.figures.timeline import (
    Weights,
    accumulated,
    draw_timeline,
    place_labels,
    waveform_path,
)

RED, DOG = SpokenWord("red", 0.4, 0.0, 0.5), SpokenWord("<dog>", 0.3, 0.5, 1.5)
WORDS = [(RED, "right"), (DOG, "wrong")]


def test_a_mark_ends_each_word_however_often_cif_fires() -> None:
    weights = Weights(np.full(10, 0.5), 0.2)  # five firings
    drawn = draw_timeline(np.ones(1600), 800, {"": WORDS}, weights=weights, heard=(0.0, 1.8))
    marks = re.findall(r'class="sc-end" style="left: ([\d.]+)%', drawn)
    assert list(map(float, marks)) == [25.0, 75.0]
    assert "&lt;dog&gt;" in drawn and "<dog>" not in drawn
    assert 'class="sc-word right"' in drawn and 'class="sc-word wrong"' in drawn
    assert "<button" not in drawn and 'class="sc-cut" style="left: 90.0%' in drawn
    assert "<button" in draw_timeline(np.ones(1600), 800, {"": WORDS}, player="sc-drop")


def test_each_row_has_its_title_and_only_the_last_has_bands() -> None:
    drawn = draw_timeline(np.ones(1600), 800, {"said": WORDS[:1], "hybrid+": WORDS})
    assert re.findall(r'sc-title">(.*?)<', drawn) == ["said", "hybrid+"]
    assert drawn.count("sc-band") == 2 and drawn.count("sc-word ") == 3
    assert "sc-fire" not in drawn


def test_weights_add_up_and_drop_where_a_keyword_is_complete() -> None:
    corners = accumulated(np.array([0.5, 0.75, 0.5]), threshold=1.0)
    # 0.5 is missing, of 0.75: two thirds into the second frame
    expected = [(0, 0), (1, 0.5), (5 / 3, 1), (5 / 3, 0), (2, 0.25), (3, 0.75)]
    np.testing.assert_allclose(corners, expected)


@given(st.lists(st.floats(0, 1, width=32), max_size=60), st.sampled_from([0.25, 0.5, 1.0]))
def test_as_many_firings_as_the_sum_holds(alphas: list[float], threshold: float) -> None:
    corners = accumulated(np.array(alphas), threshold=threshold)
    places = [x for x, level in corners if level == 1.0]
    total = sum(alphas) / threshold
    assert int(total + 1e-6) >= len(places) >= int(total - 1e-6)
    assert places == sorted(places)


def test_words_that_would_overlap_get_another_line() -> None:
    said = [("butterfly", 0.0, 0.2), ("at", 0.2, 0.4), ("night", 1.5, 2.0)]
    words = [SpokenWord(word, start=start, end=end) for word, start, end in said]
    labels = place_labels([(word, "") for word in words], seconds=2.0)
    assert [label.lanes["wide"] for label in labels] == [0, 1, 0]
    # 140 pixels: "butterfly" takes the first 91, "night" the last 57
    assert [label.lanes["narrow"] for label in labels] == [0, 1, 1]
    assert (labels[2].left, labels[2].width) == (75, 25)


def test_waveform_keeps_every_peak() -> None:
    samples = np.zeros(100_000)
    samples[54_321], samples[77_777] = 0.5, -0.5
    path = waveform_path(samples, columns=10)
    assert path.count("-1.000") == 1  # up is negative in SVG
    assert path.count(",1.000") == 1


@pytest.mark.parametrize("length", [1, 2, 799])
def test_short_clips_are_drawn(length: int) -> None:
    assert waveform_path(np.ones(length)).startswith("M0.0,-1.000")
