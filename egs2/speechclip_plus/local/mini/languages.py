"""Captions in other languages, with the same meaning as English ones."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from .scenes import Scene, Thing, draw_captions
from .world import Language, World

ENGLISH = "en"


@dataclass(frozen=True)
class SaidThing(Thing):
    """A thing with its name and colour in another language, and the words that agree with it."""

    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """What is said, its language (ISO 639-1) and the same in English; empty in a world of one."""

    language: str
    text: str
    english: str


def tell(
    rng: np.random.Generator, streams: Mapping[str, np.random.Generator], world: World, scene: Scene
) -> Iterator[Told]:
    """Draw a scene's captions, those in English first.

    Args:
        rng: Source of randomness of the English captions.
        streams: Sources of randomness of the world's other languages.
        world: World whose people speak.
        scene: Scene to describe.
    """
    name = ENGLISH if world.languages else ""
    for text in draw_captions(rng, world, scene)[: world.captions]:
        yield Told(name, text, text if name else "")
    for name, language in world.languages.items():
        # the same numbers drawn from lists of the same lengths: the same said in both languages
        twin = copy.deepcopy(streams[name])
        said = draw_captions(streams[name], in_language(world, language), say_in(language, scene))
        meant = draw_captions(twin, world, scene)
        for text, english in list(zip(said, meant, strict=True))[: world.captions]:
            yield Told(name, text, english)


def in_language(world: World, language: Language) -> World:
    """The world with a language's phrases in place of the English ones."""
    phrases = ("place_phrases", "relations", "one_thing", "two_things")
    changed = {phrase: getattr(language, phrase) for phrase in phrases}
    return dataclasses.replace(world, **changed, noun_first=True)


def say_in(language: Language, scene: Scene) -> Scene:
    """The scene with its things named in a language; colours agree with them."""
    return dataclasses.replace(scene, things=tuple(_say_thing(language, t) for t in scene.things))


def english_of(language: Language) -> dict[str, str]:
    """The English content word that each content word of a language means.

    A colour that is said in two words ("wa bluu") is its second one; the first agrees with the
    noun and is said in other phrases too.
    """
    nouns = {noun: name for kind in language.nouns.values() for name, noun in kind.items()}
    colours = {
        said.format(**words).split()[-1]: colour
        for colour, said in language.colours.items()
        for words in language.words.values()
    }
    return {**nouns, **colours, **language.meanings}


def _say_thing(language: Language, thing: Thing) -> SaidThing:
    kind = next(kind for kind, nouns in language.nouns.items() if thing.name in nouns)
    words = language.words[kind]
    colour = language.colours[thing.colour].format(**words)
    return SaidThing(colour, language.nouns[kind][thing.name], words=words)
