from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from local.mini.corpus import draw_corpus
from local.mini.scenes import (
    Scene,
    Thing,
    draw_caption,
    draw_captions,
    draw_scene,
    draw_splits,
)
from local.mini.teacher_text import keyword_list, wrong_text
from local.mini.world import read_world

DEFAULT = read_world("default")


def test_the_corpus_is_as_hard_as_promised():
    assert len(DEFAULT.objects) >= 30
    assert len(DEFAULT.colours) >= 6
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, DEFAULT, two_objects=0.8) for _ in range(500)]
    assert np.mean([len(scene.things) == 2 for scene in scenes]) > 0.7


def test_no_things_of_dev_or_test_occur_elsewhere():
    splits = draw_splits(
        np.random.default_rng(1), DEFAULT, {"train": 400, "dev": 40, "test": 60}, two_objects=0.5
    )
    keys = {split: [scene.key for scene in scenes] for split, scenes in splits.items()}
    held_out = keys["dev"] + keys["test"]
    assert len(set(held_out)) == 100
    assert not set(held_out) & set(keys["train"])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_captions_say_what_is_there(seed):
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng, DEFAULT, two_objects=0.8)
    there = {scene.place}.union(*((thing.colour, thing.name) for thing in scene.things))
    captions = draw_captions(rng, DEFAULT, scene)
    assert len(captions) == 5
    assert set(captions[0].split()) >= there
    for caption in captions:
        words = caption.split()
        assert set(words) <= set(DEFAULT.words)
        assert set(words) & DEFAULT.content_words <= there
        assert {thing.name for thing in scene.things} <= set(words)


def test_articles_fit():
    scene = Scene("snow", "left_right", (Thing("orange", "umbrella"),))
    rng = np.random.default_rng(0)
    captions = {draw_caption(rng, DEFAULT, scene) for _ in range(100)}
    assert "an orange umbrella" in captions
    assert not any("a orange" in c or "a umbrella" in c or "an single" in c for c in captions)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), longest=st.integers(1, 12))
def test_keyword_lists_hold_no_foreign_content_word(seed, longest):
    rng = np.random.default_rng(seed)
    words = draw_caption(rng, DEFAULT, draw_scene(rng, DEFAULT, two_objects=0.8)).split()
    result = keyword_list(rng, DEFAULT, words, longest=longest)
    assert 1 <= len(result) <= longest
    assert set(result) & DEFAULT.content_words <= set(words)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), longest=st.integers(6, 20))
def test_wrong_texts_name_something_that_is_not_there(seed, longest):
    rng = np.random.default_rng(seed)
    words = keyword_list(rng, DEFAULT, ["a", "red", "dog", "on", "grass"], longest=5)
    result = wrong_text(rng, DEFAULT, words, longest=longest)
    assert len(words) <= len(result) <= longest
    assert set(result) & DEFAULT.content_words - set(words)


def test_the_default_corpus_stays_what_it_was(tiny_config):
    _, captions = draw_corpus(tiny_config)
    said = [(c.utterance_id, c.text, c.voice, c.pitch) for c in captions["train"]]
    digest = hashlib.sha256(repr(said).encode()).hexdigest()
    assert digest[:16] == "0fe3cfec095c3bc1"
