"""A world decides what a mini corpus holds: its things, its sentences and its voices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from espnet_plugin.utils.small_files import read_yaml

Colour = Sequence[int]  # sRGB
Words = Sequence[str]

_WORLDS = Path(__file__).with_name("worlds")


@dataclass(frozen=True)
class Language:
    """A language beside English.

    Attributes:
        words: Words and endings that agree with each kind of noun (gender, noun class).
        nouns: Names of objects, by kind of noun and object.
        colours: How each colour is said; ``{o}`` is what ``words`` has for the noun's kind.
        meanings: English content word that each other word means.
        place_phrases, relations, one_thing, two_things: Those of ``World``, member by member in
            translation; captions also have ``{one.words[a]}``, what agrees with the first thing.
    """

    words: Mapping[str, Mapping[str, str]]
    nouns: Mapping[str, Mapping[str, str]]
    colours: Mapping[str, str]
    meanings: Mapping[str, str]
    place_phrases: Mapping[str, Words]
    relations: Mapping[str, Sequence[Words]]
    one_thing: Words
    two_things: Words


@dataclass(frozen=True)
class World:
    """The data of a world, from ``worlds/*.yaml``; another world does not need other code.

    Attributes:
        objects: OpenMoji code point of each object.
        colours: Brightest part of a tinted glyph, by the colour's name.
        places: Background of each place, as bands from top to bottom.
        place_phrases: Ways to say each place.
        sides: Sides of a glyph in pixels, for an image of 64 pixels; one is drawn.
        relations: Ways to say how a layout's first thing relates to the second, and the reverse.
        one_thing, two_things: Captions, drawn with equal chances; see ``scenes.draw_caption``.
        attributes_said, place_said: How often a caption says a thing's attributes, and the place.
        other_content: Content words besides objects, colours and places.
        function_words: All other words of the captions.
        voices: eSpeak NG's voice and variant.
        languages: Languages in which captions are said beside English, by their ISO 639-1 code.
        captions: Number of captions of an image in each language, at most five.
        noun_first: Whether a thing's name precedes its attributes.
        version: Part of what shows whether a result is stale; the default's is older than worlds.
    """

    objects: Mapping[str, str]
    colours: Mapping[str, Colour]
    places: Mapping[str, Sequence[Colour]]
    place_phrases: Mapping[str, Words]
    sides: Sequence[int]
    relations: Mapping[str, Sequence[Words]]
    one_thing: Words
    two_things: Words
    attributes_said: float
    place_said: float
    function_words: Words
    voices: Words
    other_content: Words = ()
    languages: Mapping[str, Language] = field(default_factory=dict)
    captions: int = 5
    noun_first: bool = False
    version: Words = ()

    @cached_property
    def content_words(self) -> frozenset[str]:
        """Words that tell images apart."""
        return frozenset(_split(*self._content))

    @cached_property
    def sorted_content_words(self) -> list[str]:
        """Words that tell images apart, in an order to draw from."""
        return sorted(self.content_words)

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Every word of the captions, once; the order is that of the small CLIP's table."""
        return tuple(dict.fromkeys(_split(*self._content, self.function_words)))

    @property
    def _content(self) -> tuple[Iterable[str], ...]:
        return self.objects, self.colours, self.places, self.other_content


def _split(*phrases: Iterable[str]) -> list[str]:
    return [word for group in phrases for phrase in group for word in phrase.split()]


@cache
def read_world(name: str) -> World:
    """Read ``worlds/<name>.yaml``, in which ``base`` names a world that has all other fields."""
    values = read_yaml(_WORLDS / f"{name}.yaml")
    if base := values.pop("base", None):
        values = read_yaml(_WORLDS / f"{base}.yaml") | values
    if "languages" in values:
        values["languages"] = {k: Language(**v) for k, v in values["languages"].items()}
    return World(**values)
