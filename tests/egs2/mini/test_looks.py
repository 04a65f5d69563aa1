from __future__ import annotations

import numpy as np
import pytest
from local.mini.looks import LOOKS
from local.mini.world import read_world

WORDS = read_world("words")


@pytest.fixture
def glyph():
    """A red upper left quarter on nothing, 20 pixels a side."""
    colour = np.zeros((20, 20, 3), dtype=np.float32)
    colour[..., 0] = 200
    alpha = np.zeros((20, 20, 1), dtype=np.float32)
    alpha[:10, :10] = 1
    return colour, alpha


def test_every_pattern_and_action_of_the_words_has_a_look():
    assert {*WORDS.patterns, *WORDS.actions} == set(LOOKS)


@pytest.mark.parametrize("look", LOOKS)
def test_looks_keep_the_shape_and_the_range(look, glyph):
    colour, alpha = LOOKS[look](*glyph)
    assert colour.shape == (20, 20, 3) and alpha.shape == (20, 20, 1)
    assert 0 <= colour.min() and colour.max() <= 255
    assert 0 <= alpha.min() and alpha.max() <= 1
    seen, before = colour * alpha, glyph[0] * glyph[1]
    assert np.abs(seen - before).mean() > 1


def test_what_hangs_is_upside_down_and_what_lies_is_on_its_side(glyph):
    assert LOOKS["hanging"](*glyph)[1].sum(axis=(1, 2)).tolist() == [0] * 10 + [10] * 10
    assert LOOKS["lying"](*glyph)[1].sum(axis=(0, 2)).tolist() == [10] * 10 + [0] * 10


def test_what_hides_is_behind_a_wall(glyph):
    colour, alpha = LOOKS["hiding"](*glyph)
    assert (colour[:, 13:] == 120).all() and (alpha[:, 13:] == 1).all()
    assert (colour[:, :13] == glyph[0][:, :13]).all()
