"""Scenes and their captions, without picture or sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lexicon import COLOURS, OBJECTS, PLACE_PHRASES, PLACES

CAPTIONS_PER_IMAGE = 5
LAYOUTS = ("left_right", "above_below")
_OBJECTS, _COLOURS, _PLACES = tuple(OBJECTS), tuple(COLOURS), tuple(PLACES)
_SIDE_BY_SIDE = ("next to", "beside", "near")


@dataclass(frozen=True)
class Thing:
    """One object of a scene."""

    colour: str
    name: str


@dataclass(frozen=True)
class Scene:
    """One or two things in a place; the first is left of or above the second."""

    place: str
    layout: str
    things: tuple[Thing, ...]

    @property
    def key(self) -> frozenset[Thing]:
        """What is kept apart between splits: the things, whatever their place and order."""
        return frozenset(self.things)


def draw_scene(
    rng: np.random.Generator, *, two_objects: float, exclude: frozenset = frozenset()
) -> Scene:
    """Draw a scene whose set of things is not in ``exclude``."""
    while True:
        count = 2 if rng.random() < two_objects else 1
        names = rng.permutation(len(_OBJECTS))[:count]
        things = tuple(
            Thing(_COLOURS[rng.integers(len(_COLOURS))], _OBJECTS[index]) for index in names
        )
        place = _PLACES[rng.integers(len(_PLACES))]
        scene = Scene(place, LAYOUTS[rng.integers(2)], things)
        if scene.key not in exclude:
            return scene


def draw_splits(
    rng: np.random.Generator, sizes: dict[str, int], *, two_objects: float
) -> dict[str, list[Scene]]:
    """Draw the scenes of all splits; no set of things of dev or test occurs anywhere else.

    Args:
        rng: Source of randomness.
        sizes: Scenes of ``train``, ``dev`` and ``test``.
        two_objects: Probability of a second thing in a scene.

    Returns:
        The scenes of each split.
    """
    splits: dict[str, list[Scene]] = {}
    held_out: set[frozenset[Thing]] = set()
    for split in ("test", "dev"):
        splits[split] = []
        for _ in range(sizes[split]):
            scene = draw_scene(rng, two_objects=two_objects, exclude=frozenset(held_out))
            held_out.add(scene.key)
            splits[split].append(scene)
    frozen = frozenset(held_out)
    splits["train"] = [
        draw_scene(rng, two_objects=two_objects, exclude=frozen) for _ in range(sizes["train"])
    ]
    return splits


def draw_caption(rng: np.random.Generator, scene: Scene, *, complete: bool = False) -> str:
    """Say what is in a scene.

    Args:
        rng: Source of randomness.
        scene: The scene.
        complete: Name every colour, object and the place.

    Returns:
        A caption in lower case without punctuation.
    """
    place = ""
    if complete or rng.random() < 0.4:
        phrases = PLACE_PHRASES[scene.place]
        place = phrases[rng.integers(len(phrases))]
    named = [complete or rng.random() < 0.88 for _ in scene.things]
    phrases = [
        f"{thing.colour} {thing.name}" if colour else thing.name
        for thing, colour in zip(scene.things, named, strict=True)
    ]
    if len(scene.things) == 1:
        words = _describe_one(rng, scene.things[0], phrases[0])
    else:
        words = _describe_two(rng, scene, phrases)
    return f"{words} {place}".strip()


def draw_captions(rng: np.random.Generator, scene: Scene) -> list[str]:
    """Return five captions; the first names everything."""
    return [draw_caption(rng, scene, complete=n == 0) for n in range(CAPTIONS_PER_IMAGE)]


def _describe_one(rng: np.random.Generator, thing: Thing, phrase: str) -> str:
    kind = rng.integers(5)
    if kind == 0:
        return f"the {thing.name} is {thing.colour}"
    if kind == 1:
        return f"there is {_article(phrase)}"
    if kind == 2:
        return f"a single {phrase}"
    return _article(phrase)


def _describe_two(rng: np.random.Generator, scene: Scene, phrases: list[str]) -> str:
    first, second = phrases
    above = scene.layout == "above_below"
    swapped = rng.random() < 0.5
    if swapped:
        first, second = second, first
    kind = rng.integers(10)
    if kind == 0:
        one, two = scene.things[::-1] if swapped else scene.things
        return f"the {one.name} is {one.colour} and the {two.name} is {two.colour}"
    if kind <= 2:
        return f"{first} and {second}"
    if kind == 3:
        return f"{first} with {second}"
    if kind == 4:
        return f"{_article(first)} and {_article(second)}"
    if kind == 5:
        return f"there is {_article(first)} and {_article(second)}"
    if above:
        relations = ("below", "under") if swapped else ("above", "over")
        relation = relations[rng.integers(2)]
    else:
        relation = _SIDE_BY_SIDE[rng.integers(len(_SIDE_BY_SIDE))]
    return f"{_article(first)} {relation} {_article(second)}"


def _article(phrase: str) -> str:
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"
