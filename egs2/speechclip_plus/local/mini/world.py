"""What decides how hard a mini corpus is: its things, its way of speaking, its voices and rooms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

Colour = tuple[int, int, int]  # sRGB
Span = tuple[float, float]  # to draw from


@dataclass(frozen=True)
class Size:
    """A size of things: words for it, and glyph sides in pixels for a picture of 64 pixels."""

    words: tuple[str, ...]
    sides: tuple[int, ...]


@dataclass(frozen=True)
class Acoustics:
    """Rooms and noise to draw from.

    Attributes:
        reverberation_time: Seconds until the room's answer has fallen by 60 dB.
        direct_to_reverberant: Energy of the direct sound over that of the room's answer, in dB.
        signal_to_noise: In dB.
        noise_slope: The noise's power falls with frequency to the minus this: 0 white, 1 pink.
    """

    reverberation_time: Span
    direct_to_reverberant: Span
    signal_to_noise: Span
    noise_slope: Span


@dataclass(frozen=True)
class World:
    """Data only: another difficulty is another world, and no other code.

    Attributes:
        objects: Name → OpenMoji code point.
        colours: Name → the brightest part of a tinted glyph.
        places: Name → the background.
        place_phrases: Place → ways to say it.
        sizes: Name → size.
        size_orders: Sizes of a scene's first and second thing, one of which is drawn.
        distinct_colours: Two things never share a colour.
        relations: Layout → ways to say how the first thing lies to the second, and the reverse.
        one_thing, two_things: Captions, drawn with equal chances; ``scenes.draw_caption`` has the
            fields.
        attributes_said, place_said: How often a caption says a thing's colour and size, and where.
        other_content: Content words besides objects, colours and places.
        function_words: All other words of the captions.
        voices: eSpeak NG's voice and variant.
        acoustics: Where it is recorded; None: nothing is heard but the voice.
        siblings: Split → hard negatives that come with every scene, see ``scenes.draw_family``.
        version: Part of what tells whether a result is stale; the default's is older than worlds.
    """

    objects: Mapping[str, str]
    colours: Mapping[str, Colour]
    places: Mapping[str, Colour]
    place_phrases: Mapping[str, tuple[str, ...]]
    sizes: Mapping[str, Size]
    size_orders: tuple[tuple[str, str], ...]
    relations: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    one_thing: tuple[str, ...]
    two_things: tuple[str, ...]
    attributes_said: float
    place_said: float
    function_words: tuple[str, ...]
    voices: tuple[str, ...]
    other_content: tuple[str, ...] = ()
    distinct_colours: bool = False
    acoustics: Acoustics | None = None
    siblings: Mapping[str, int] = field(default_factory=dict)
    version: tuple[str, ...] = ()

    @cached_property
    def content_words(self) -> frozenset[str]:
        """Words that tell pictures apart."""
        return frozenset((*self.objects, *self.colours, *self.places, *self.other_content))

    @property
    def words(self) -> tuple[str, ...]:
        """Every word of the captions; the order is that of the small CLIP's table."""
        return (
            *self.objects,
            *self.colours,
            *self.places,
            *self.other_content,
            *self.function_words,
        )
