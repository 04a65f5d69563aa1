"""Scenes and their captions, without image or sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import eq
from typing import TypeVar

import numpy as np

from .world import World

T = TypeVar("T")
CAPTIONS_PER_IMAGE = 5
NUMBERS = ("", "two", "three", "four")  # one is not said
MOST_DRAWS = 100_000  # of one scene


@dataclass(frozen=True)
class Thing:
    """One object of a scene, or several of a kind; captions do not say what is empty.

    An empty colour stands for the glyph's own colours.
    """

    colour: str
    name: str
    size: str = ""
    count: int = 1
    pattern: str = ""
    action: str = ""


@dataclass(frozen=True)
class Scene:
    """One or two things in a place; the first is left of or above the second."""

    place: str
    layout: str
    things: tuple[Thing, ...]

    @property
    def key(self) -> frozenset[tuple[str, str]]:
        """The coloured things, in any place and order, which must not occur in two splits."""
        return frozenset((thing.colour, thing.name) for thing in self.things)


def draw_scene(
    rng: np.random.Generator, world: World, *, two_objects: float, exclude: frozenset = frozenset()
) -> Scene:
    """Draw a scene whose set of things is not in ``exclude``.

    Raises:
        ValueError: If there seems to be none.
    """
    colours, places, layouts = tuple(world.colours), tuple(world.places), tuple(world.relations)
    for _ in range(MOST_DRAWS):
        count = 2 if rng.random() < two_objects else 1
        names = _draw_names(rng, world, count)
        painted = [colours[rng.integers(len(colours))] for _ in names]
        place = places[rng.integers(len(places))]
        layout = layouts[rng.integers(len(layouts))]
        sizes = world.size_orders[rng.integers(len(world.size_orders))]
        things = [_draw_details(rng, world, thing) for thing in map(Thing, painted, names, sizes)]
        scene = Scene(place, layout, tuple(things))
        if scene.key not in exclude:
            return scene
    raise ValueError(
        "no new set of things was found for a scene: the world is too small for the images of dev "
        "and test. Lower --corpus_dev_images and --corpus_test_images, or raise "
        "--corpus_two_objects"
    )


def draw_splits(
    rng: np.random.Generator, world: World, sizes: Mapping[str, int], *, two_objects: float
) -> dict[str, list[Scene]]:
    """Draw the scenes of all splits; no set of things of dev or test occurs anywhere else.

    Args:
        rng: Source of randomness.
        world: World of the things.
        sizes: Number of scenes of ``train``, ``dev`` and ``test``.
        two_objects: Probability of a second thing in a scene.

    Returns:
        The scenes of each split.
    """
    splits: dict[str, list[Scene]] = {}
    held_out: set[frozenset] = set()
    for split in ("test", "dev", "train"):
        splits[split] = []
        exclude = frozenset(held_out)
        for _ in range(sizes[split]):
            scene = draw_scene(rng, world, two_objects=two_objects, exclude=exclude)
            splits[split].append(scene)
            if split != "train":
                held_out.add(scene.key)
                exclude = frozenset(held_out)
    return splits


def draw_caption(
    rng: np.random.Generator, world: World, scene: Scene, *, complete: bool = False
) -> str:
    """Say what is in a scene.

    The world's captions may hold ``{one}`` and ``{two}`` (things, ``{one.name}``), ``{first}`` and
    ``{second}`` (their descriptions), both also with an article (``{a_first}``), and
    ``{relation}``, of the first to the second.

    Args:
        rng: Source of randomness.
        world: World whose people speak.
        scene: Scene to describe.
        complete: Whether to say every attribute, and the place.

    Returns:
        A caption in lower case without punctuation.
    """
    place = ""
    if complete or rng.random() < world.place_said:
        place = _draw(rng, world.place_phrases[scene.place])
    told = [complete or rng.random() < world.attributes_said for _ in scene.things]
    phrases = [
        _say(rng, world, thing, attributes)
        for thing, attributes in zip(scene.things, told, strict=True)
    ]
    things = list(scene.things)
    swapped = len(things) == 2 and rng.random() < 0.5
    if swapped:
        things.reverse()
        phrases.reverse()
    caption = _draw(rng, world.two_things if len(things) == 2 else world.one_thing)
    relation = ""
    if "{relation}" in caption:
        relation = _draw(rng, world.relations[scene.layout][swapped])
    words = caption.format(
        one=things[0],
        two=things[-1],
        first=phrases[0],
        second=phrases[-1],
        a_first=_article(world, things[0], phrases[0]),
        a_second=_article(world, things[-1], phrases[-1]),
        relation=relation,
    )
    said = f"{words} {place}".strip()
    if world.repeated and rng.random() < world.repeated:
        said = say_twice(rng, world, scene, said)
    return said


def say_twice(rng: np.random.Generator, world: World, scene: Scene, caption: str) -> str:
    """Say a word of a caption twice, as people do.

    An adjective follows itself: "a red red car", "a very very big dog". If it is a colour, half of
    the time the thing is named again instead: "a red car near a dog and the car is red".

    Returns:
        The caption as it was, if it has no adjective.
    """
    words = caption.split()
    adjectives = [n for n, word in enumerate(words) if word in world.adjectives]
    if not adjectives:
        return caption
    place = adjectives[rng.integers(len(adjectives))]
    word, rest = words[place], " ".join([*words[place + 1 :], ""])
    nouns = [(rest.find(f"{noun} "), -len(noun), noun, thing) for thing in scene.things
             if (noun := _noun(world, thing)) and f"{noun} " in rest]  # fmt: skip
    if nouns and word in world.colours and rng.random() < 0.5:
        *_, noun, thing = min(nouns, key=lambda found: found[:2])
        return f"{caption} and the {noun} {'are' if thing.count > 1 else 'is'} {word}"
    return " ".join([*words[:place], word, *words[place:]])


def says_twice(world: World, caption: str) -> bool:
    """Whether a caption has a content word twice, or any word twice in a row."""
    words = caption.split()
    content = [word for word in words if word in world.content_words]
    return len(set(content)) < len(content) or any(map(eq, words, words[1:]))


def draw_captions(rng: np.random.Generator, world: World, scene: Scene) -> list[str]:
    """Return five captions; the first names everything."""
    return [draw_caption(rng, world, scene, complete=n == 0) for n in range(CAPTIONS_PER_IMAGE)]


def _draw_names(rng: np.random.Generator, world: World, count: int) -> list[str]:
    objects = tuple(world.objects)
    if world.zipf_offset is None:
        return [objects[index] for index in rng.permutation(len(objects))[:count]]
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        chosen[objects[int(np.searchsorted(world.cumulative_shares, rng.random()))]] = None
    return list(chosen)


def _draw_details(rng: np.random.Generator, world: World, thing: Thing) -> Thing:
    """Draw how many there are, their pattern and action; a world without them draws nothing."""
    if world.untinted and rng.random() < world.untinted:
        thing = replace(thing, colour="")
    if thing.name in world.plurals and (count := _draw(rng, world.counts)) > 1:
        thing = replace(thing, count=count, size="")
    if world.patterned and rng.random() < world.patterned:
        thing = replace(thing, pattern=_draw(rng, tuple(world.patterns)))
    if world.acting and rng.random() < world.acting:
        thing = replace(thing, action=_draw(rng, tuple(world.actions)))
    return thing


def _say(rng: np.random.Generator, world: World, thing: Thing, attributes: bool) -> str:
    number = NUMBERS[thing.count - 1]
    if not attributes:
        return f"{number} {_noun(world, thing)}".strip()
    size = _draw(rng, world.sizes[thing.size].words)
    pattern = _draw(rng, world.patterns[thing.pattern]) if thing.pattern else ""
    action = _draw(rng, world.actions[thing.action]) if thing.action else ""
    before, after = (number, size, thing.colour, pattern), (_noun(world, thing), action)
    words = (*after, *before) if world.noun_first else (*before, *after)
    return " ".join(word for word in words if word)


def _noun(world: World, thing: Thing) -> str:
    return world.plurals[thing.name] if thing.count > 1 else thing.name


def _draw(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Draw one of several; if there is only one, nothing is drawn from the stream."""
    return choices[rng.integers(len(choices))]


def _article(world: World, thing: Thing, phrase: str) -> str:
    """Say "a dog", "an owl", but "two dogs" and "jeans"."""
    if thing.count > 1 or (world.plurals and thing.name not in world.plurals):
        return phrase
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"
