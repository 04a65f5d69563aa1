from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from local.mini.lexicon import COLOURS, CONTENT_WORDS, OBJECTS
from local.mini.scenes import (
    Scene,
    Thing,
    draw_caption,
    draw_captions,
    draw_scene,
    draw_splits,
)
from local.mini.teacher_text import WORDS, keyword_list, wrong_text


def test_the_corpus_is_as_hard_as_promised():
    assert len(OBJECTS) >= 30
    assert len(COLOURS) >= 6
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, two_objects=0.8) for _ in range(500)]
    assert np.mean([len(scene.things) == 2 for scene in scenes]) > 0.7


def test_no_things_of_dev_or_test_occur_elsewhere():
    splits = draw_splits(
        np.random.default_rng(1), {"train": 400, "dev": 40, "test": 60}, two_objects=0.5
    )
    keys = {split: [scene.key for scene in scenes] for split, scenes in splits.items()}
    held_out = keys["dev"] + keys["test"]
    assert len(set(held_out)) == 100
    assert not set(held_out) & set(keys["train"])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_captions_say_what_is_there(seed):
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng, two_objects=0.8)
    there = {scene.place}.union(*((thing.colour, thing.name) for thing in scene.things))
    captions = draw_captions(rng, scene)
    assert len(captions) == 5
    assert set(captions[0].split()) >= there
    for caption in captions:
        words = caption.split()
        assert set(words) <= set(WORDS)
        assert set(words) & CONTENT_WORDS <= there
        assert {thing.name for thing in scene.things} <= set(words)


def test_articles_fit():
    scene = Scene("snow", "left_right", (Thing("orange", "umbrella"),))
    rng = np.random.default_rng(0)
    captions = {draw_caption(rng, scene) for _ in range(100)}
    assert "an orange umbrella" in captions
    assert not any("a orange" in c or "a umbrella" in c or "an single" in c for c in captions)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), longest=st.integers(1, 12))
def test_keyword_lists_hold_no_foreign_content_word(seed, longest):
    rng = np.random.default_rng(seed)
    words = draw_caption(rng, draw_scene(rng, two_objects=0.8)).split()
    result = keyword_list(rng, words, longest=longest)
    assert 1 <= len(result) <= longest
    assert set(result) & CONTENT_WORDS <= set(words)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), longest=st.integers(6, 20))
def test_wrong_texts_name_something_that_is_not_there(seed, longest):
    rng = np.random.default_rng(seed)
    words = keyword_list(rng, ["a", "red", "dog", "on", "grass"], longest=5)
    result = wrong_text(rng, words, longest=longest)
    assert len(words) <= len(result) <= longest
    assert set(result) & CONTENT_WORDS - set(words)
