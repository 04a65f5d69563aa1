"""A world of many words: 1,549 things, common and rare, and words that are said twice."""

from __future__ import annotations

import csv
from pathlib import Path

from .lexicon import COLOURS, VOICES
from .scenes import NUMBERS
from .world import Colour, Size, World

_THINGS = Path(__file__).with_name("things.tsv")


def _read_things(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Code points and plurals of the things, the common ones first."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    code_points = {row["thing"]: row["code_point"] for row in rows}
    return code_points, {row["thing"]: row["things"] for row in rows if row["things"]}


_OBJECTS, _PLURALS = _read_things(_THINGS)

_SAND, _LAWN, _WATER, _SKY = (240, 218, 178), (150, 205, 110), (90, 150, 220), (205, 230, 255)
_DARK, _LEAVES, _FLOOR, _GREY = (60, 62, 85), (60, 110, 60), (200, 160, 120), (150, 150, 150)
_WHITE = (243, 247, 252)

_PLACES: dict[str, tuple[Colour, ...]] = {
    "beach": (_SKY, _SAND),
    "cave": (_DARK, _GREY),
    "city": (_SKY, _GREY),
    "desert": (_SAND,),
    "evening": (_SAND, _DARK),
    "field": (_SKY, _LAWN),
    "forest": (_LEAVES,),
    "garden": (_LEAVES, _LAWN),
    "grass": (_LAWN,),
    "harbour": (_GREY, _WATER),
    "ice": (_WHITE, _SKY),
    "kitchen": (_WHITE, _FLOOR),
    "lake": (_LEAVES, _WATER),
    "meadow": (_LAWN, _SKY),
    "night": (_DARK,),
    "office": (_GREY, _FLOOR),
    "pool": (_FLOOR, _WATER),
    "room": (_SAND, _FLOOR),
    "sea": (_SKY, _WATER),
    "sky": (_SKY,),
    "snow": (_WHITE,),
    "street": (_GREY,),
    "swamp": (_WATER, _LEAVES),
    "wall": (_FLOOR,),
}

_PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "beach": ("on the beach", "at the beach", "on a sunny beach", "at the coast", "on the shore"),
    "cave": ("in a cave", "in a dark cave"),
    "city": ("in the city", "downtown", "in the square", "in an old village"),
    "desert": ("in the desert", "on sand", "in the sand", "on a dune"),
    "evening": ("in the evening", "at dusk"),
    "field": ("in a field", "out in the field"),
    "forest": ("in the forest", "in the woods", "in a jungle"),
    "garden": ("in the garden", "in the yard", "in a backyard"),
    "grass": ("on grass", "on the grass", "on a lawn"),
    "harbour": ("at the harbour", "in the port"),
    "ice": ("on ice", "on the frozen ground", "on a glacier"),
    "kitchen": ("in the kitchen", "in a kitchen", "at home", "at breakfast"),
    "lake": ("by the lake", "on a lake", "near the pond"),
    "meadow": ("in a meadow", "on the hill", "in a valley"),
    "night": ("at night", "in the dark"),
    "office": ("in the office", "at work", "in a hall", "in the museum"),
    "pool": ("in the pool", "by the pool"),
    "room": ("in the room", "indoors", "inside", "in the corridor", "at the exhibition"),
    "sea": ("by the sea", "at sea", "on the ocean"),
    "sky": ("in the sky", "in the air"),
    "snow": ("in snow", "in the snow"),
    "street": ("on the street", "on the road", "on a sidewalk", "on the pavement", "in a lane"),
    "swamp": ("in the swamp", "by the river"),
    "wall": ("in front of a wall", "against the wall"),
}

_SIZES = {
    "": Size(words=("",), sides=(26,)),
    "large": Size(
        words=("big", "large", "huge", "giant", "enormous", "massive", "very big", "very large"),
        sides=(32,),
    ),
    "small": Size(
        words=(
            "small",
            "little",
            "tiny",
            "short",
            "miniature",
            "minute",
            "very small",
            "very little",
        ),
        sides=(18,),
    ),
}

_PATTERNS = {
    "striped": ("striped", "stripy"),
    "checked": ("checked", "plaid"),
    "spotted": ("spotted", "dotted"),
    "wooden": ("wooden",),
    "metal": ("metal", "steel", "shiny"),
    "glass": ("transparent", "clear"),
}

_ACTIONS = {
    "lying": ("lying down", "resting", "sleeping"),
    "hanging": ("hanging", "turned over", "upside down"),
    "moving": ("moving", "speeding", "running", "racing"),
    "shining": ("shining", "glowing"),
    "swimming": ("swimming", "floating", "bathing"),
    "burning": ("burning", "in flames"),
    "caged": ("trapped", "behind bars", "locked up"),
    "hiding": ("hiding", "behind a board"),
}

_BESIDE = ("next to", "beside", "near", "by", "close to", "alongside", "along with", "and also")

_FUNCTION_WORDS = (
    "a", "an", "the", "and", "are", "at", "against", "along", "also", "alongside", "another",
    "as", "behind", "below", "beneath", "beside", "by", "can", "close", "down", "for", "from",
    "front", "have", "here", "i", "in", "is", "it", "just", "left", "like", "looks", "look",
    "next", "near", "of", "on", "one", "only", "out", "over", "see", "seems", "some", "someone",
    "that", "there", "this", "to", "top", "under", "up", "us", "very", "we", "what", "which",
    "with", "you", "above", "right", "side", "through",
)  # fmt: skip

_PICTURE = ("a picture of", "a photo of", "an image of", "a drawing of", "a view of")
_FIRST = ("{a_first}", "here is {a_first}", "we see {a_first}", "i can see {a_first}",
          "look at {a_first}", "someone left {a_first}", "this shows {a_first}", "just {a_first}",
          "only {a_first}", "you can see {a_first}",
          *(f"{of} {{a_first}}" for of in _PICTURE))  # fmt: skip


def _spoken(*phrases: tuple[str, ...]) -> tuple[str, ...]:
    """The words of phrases that are neither a field nor a function word."""
    words = (word for group in phrases for phrase in group for word in phrase.split())
    return tuple(dict.fromkeys(w for w in words if "{" not in w and w not in _FUNCTION_WORDS))


WORDS = World(
    objects=_OBJECTS,
    plurals=_PLURALS,
    zipf_offset=40.0,
    colours=COLOURS
    | {
        "brown": (130, 80, 35),
        "gray": (140, 140, 140),
        "pink": (255, 150, 200),
        "turquoise": (60, 220, 210),
        "white": (255, 255, 255),
    },
    untinted=0.4,
    places=_PLACES,
    place_phrases=_PLACE_PHRASES,
    sizes=_SIZES,
    size_orders=(*(("", ""),) * 4, ("large", ""), ("", "large"), ("small", ""), ("", "small"),
                 ("large", "small"), ("small", "large")),
    counts=(*(1,) * 12, 2, 2, 3, 4),
    patterns=_PATTERNS,
    patterned=0.12,
    actions=_ACTIONS,
    acting=0.2,
    relations={
        "left_right": ((*_BESIDE, "left of", "on the left side of"),
                       (*_BESIDE, "right of", "on the right side of")),
        "above_below": (("above", "over", "on top of"), ("below", "under", "beneath")),
    },
    one_thing=(*("{a_first}",) * 6, *_FIRST),
    two_things=(
        *("{a_first} {relation} {a_second}",) * 12,
        *(f"{first} {{relation}} {{a_second}}" for first in _FIRST),
        *("{a_first} and {a_second}", "{a_first} with {a_second}") * 2,
        "there is {a_first} and {a_second}",
        "this looks like {a_first} and {a_second}",
    ),
    attributes_said=0.85,
    place_said=0.35,
    repeated=0.21,
    other_content=_spoken(
        NUMBERS,
        *(size.words for size in _SIZES.values()),
        *_PATTERNS.values(),
        *_ACTIONS.values(),
        *_PLACE_PHRASES.values(),
        _FIRST,
        ("top", "side", "left", "right"),
    ),
    function_words=_FUNCTION_WORDS,
    voices=VOICES,
    version=("words", "1"),
)  # fmt: skip
