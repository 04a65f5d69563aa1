from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from local.mini.config import DIFFICULTIES
from local.mini.corpus import draw_corpus
from local.mini.scenes import Scene, Thing, draw_caption, draw_scene, say_twice, says_twice
from local.mini.world import read_world

WORDS = read_world("words")


@pytest.fixture
def few_scenes():
    sizes = dataclasses.replace(
        DIFFICULTIES["words"].corpus, train_images=40, dev_images=2, test_images=20
    )
    return dataclasses.replace(DIFFICULTIES["words"], corpus=sizes)


def _captions(world, count):
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, world, two_objects=0.8) for _ in range(count)]
    return [(scene, draw_caption(rng, world, scene)) for scene in scenes]


def test_there_are_as_many_words_and_things_as_promised():
    assert len(WORDS.objects) == len(set(WORDS.objects.values())) == 1549
    assert len(WORDS.words) > 2500
    # an adjective of a thing's name would be taken for one that describes it
    names = {word for name in WORDS.objects for word in name.split()}
    assert not names & WORDS.adjectives


def test_captions_hold_only_the_world_s_words():
    said = {word for _, caption in _captions(WORDS, 500) for word in caption.split()}
    assert said <= set(WORDS.words)


def test_things_are_common_and_rare():
    """With offset 1 and three things, the shares are as 1/2, 1/3 and 1/4: 6, 4 and 3 of 13."""
    names = list(WORDS.objects)[:3]
    world = dataclasses.replace(
        WORDS, objects={name: WORDS.objects[name] for name in names}, zipf_offset=1.0
    )
    assert world.cumulative_shares == pytest.approx([6 / 13, 10 / 13, 1])
    rng = np.random.default_rng(0)
    scenes = [draw_scene(rng, world, two_objects=0.0) for _ in range(1300)]
    drawn = Counter(scene.things[0].name for scene in scenes)
    assert [drawn[name] for name in names] == pytest.approx([600, 400, 300], abs=60)


def test_a_fifth_of_the_captions_says_a_word_twice():
    captions = [caption for _, caption in _captions(WORDS, 2000)]
    assert np.mean([says_twice(WORDS, c) for c in captions]) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
    "caption, twice",
    [
        ("a red red car", True),
        ("a very very big dog", True),
        ("a red car and the car is red", True),
        ("a red car on the left side of the wall", False),
    ],
)
def test_what_counts_as_said_twice(caption, twice):
    assert says_twice(WORDS, caption) == twice


def test_a_word_follows_itself_or_its_thing_is_named_again():
    scene = Scene("snow", "left_right", (Thing("red", "dog"), Thing("", "cat", count=2)))
    rng = np.random.default_rng(0)
    said = {say_twice(rng, WORDS, scene, "a red dog near two cats") for _ in range(50)}
    assert said == {"a red red dog near two cats", "a red dog near two cats and the dog is red"}
    two = {say_twice(rng, WORDS, scene, "two red cats in snow") for _ in range(50)}
    assert "two red cats in snow and the cats are red" in two
    assert say_twice(rng, WORDS, scene, "a dog near two cats") == "a dog near two cats"


def test_numbers_plurals_and_articles():
    rng = np.random.default_rng(0)

    def caption(*things):
        world = dataclasses.replace(WORDS, repeated=0.0, one_thing=("{a_first}",))
        text = draw_caption(rng, world, Scene("night", "left_right", things), complete=True)
        return text.split(" at night")[0].split(" in the dark")[0]

    assert caption(Thing("red", "dog", count=3)) == "three red dogs"
    assert caption(Thing("", "ant")) == "an ant"
    assert caption(Thing("orange", "ant", pattern="wooden")) == "an orange wooden ant"
    assert caption(Thing("blue", "jeans")) == "blue jeans"


def test_twins_differ_in_the_repetition_alone(few_scenes):
    scenes, captions = draw_corpus(few_scenes)
    repeats, plain = captions["repeats"], captions["plain"]
    assert len(repeats) == len(plain) >= 10
    for one, other in zip(repeats, plain, strict=True):
        assert one.image_id == other.image_id and one.image_id in scenes["test"]
        assert (one.voice, one.pitch) == (other.voice, other.pitch)
        assert says_twice(WORDS, one.text) and not says_twice(WORDS, other.text)
        more = Counter(one.text.split()) - Counter(other.text.split())
        assert not Counter(other.text.split()) - Counter(one.text.split())
        assert sum(more.values()) == 1 or {"and", "the"} <= set(more)
    spoken = [caption.utterance_id for members in captions.values() for caption in members]
    assert len(set(spoken)) == len(spoken)
