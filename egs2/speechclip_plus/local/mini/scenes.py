"""Scenes and their captions, without image or sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from .world import World

T = TypeVar("T")
CAPTIONS_PER_IMAGE = 5
MOST_DRAWS = 100_000  # of one scene


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
    objects, colours = tuple(world.objects), tuple(world.colours)
    places, layouts = tuple(world.places), tuple(world.relations)
    for _ in range(MOST_DRAWS):
        count = 2 if rng.random() < two_objects else 1
        names = [objects[index] for index in rng.permutation(len(objects))[:count]]
        painted = [colours[rng.integers(len(colours))] for _ in names]
        place = places[rng.integers(len(places))]
        layout = layouts[rng.integers(len(layouts))]
        scene = Scene(place, layout, tuple(map(Thing, painted, names)))
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
        _say(world, thing, attributes) for thing, attributes in zip(scene.things, told, strict=True)
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
        a_first=_article(phrases[0]),
        a_second=_article(phrases[-1]),
        relation=relation,
    )
    return f"{words} {place}".strip()


def draw_captions(rng: np.random.Generator, world: World, scene: Scene) -> list[str]:
    """Return five captions; the first names everything."""
    return [draw_caption(rng, world, scene, complete=n == 0) for n in range(CAPTIONS_PER_IMAGE)]


def _say(world: World, thing: Thing, attributes: bool) -> str:
    if not attributes:
        return thing.name
    words = (thing.name, thing.colour) if world.noun_first else (thing.colour, thing.name)
    return " ".join(words)


def _draw(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Draw one of several; if there is only one, nothing is drawn from the stream."""
    return choices[rng.integers(len(choices))]


def _article(phrase: str) -> str:
    """Say "a dog", but "an owl"."""
    return f"an {phrase}" if phrase[0] in "aeiou" else f"a {phrase}"
