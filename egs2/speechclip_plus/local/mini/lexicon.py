"""The default world: what a scene may hold and how one speaks of it.

Every name is one CLIP sub-word; names were picked to differ in sound and in shape.
"""

from __future__ import annotations

from .world import Colour, Size, World

OBJECTS: dict[str, str] = {
    "banana": "1F34C",
    "balloon": "1F388",
    "bicycle": "1F6B2",
    "boat": "26F5",
    "bus": "1F68C",
    "butterfly": "1F98B",
    "cactus": "1F335",
    "cake": "1F382",
    "camera": "1F4F7",
    "chair": "1FA91",
    "clock": "23F0",
    "crown": "1F451",
    "dog": "1F415",
    "elephant": "1F418",
    "fish": "1F41F",
    "guitar": "1F3B8",
    "hammer": "1F528",
    "house": "1F3E0",
    "moon": "1F319",
    "mushroom": "1F344",
    "octopus": "1F419",
    "penguin": "1F427",
    "pizza": "1F355",
    "rabbit": "1F407",
    "rocket": "1F680",
    "snake": "1F40D",
    "spider": "1F577",
    "star": "2B50",
    "tree": "1F333",
    "trumpet": "1F3BA",
    "turtle": "1F422",
    "umbrella": "2602",
}

COLOURS: dict[str, Colour] = {
    "blue": (45, 90, 235),
    "green": (30, 165, 60),
    "orange": (255, 140, 10),
    "purple": (150, 50, 200),
    "red": (225, 35, 40),
    "yellow": (255, 225, 30),
}

PLACES: dict[str, tuple[Colour, ...]] = {
    "beach": ((240, 218, 178),),
    "grass": ((186, 224, 160),),
    "night": ((92, 98, 128),),
    "snow": ((243, 247, 252),),
}

PLACE_PHRASES: dict[str, tuple[str, ...]] = {
    "beach": ("on the beach", "at the beach"),
    "grass": ("on grass", "on the grass"),
    "night": ("at night",),
    "snow": ("in snow", "in the snow"),
}

FUNCTION_WORDS: tuple[str, ...] = (
    "a", "an", "and", "at", "in", "is", "of", "on", "the", "there", "to", "we", "with", "see",
    "here", "next", "near", "beside", "above", "below", "under", "over", "just", "single",
)  # fmt: skip

# The engine's voice + variant. Left out: whispering and robotic variants, and those whose sound
# differs between two runs of the engine (f2 f3 f5 Alicia sandro victor).
VOICES: tuple[str, ...] = (
    "en-us+m1", "en-us+m3", "en-us+m6", "en-us+m7", "en-us+f1", "en-us+f4", "en-us+Alex",
    "en-us+Annie", "en-us+Diogo", "en-us+Lee", "en-us+Michael", "en-us+anika", "en-us+ian",
    "en-us+linda", "en-us+max", "en-us+paul", "en-us+steph", "en+m2", "en+m4", "en+m8", "en+Andy",
    "en+Gene", "en+Mario", "en+robert", "en+shelby",
)  # fmt: skip

_SIDE_BY_SIDE = ("next to", "beside", "near")

DEFAULT = World(
    objects=OBJECTS,
    colours=COLOURS,
    places=PLACES,
    place_phrases=PLACE_PHRASES,
    sizes={"": Size(words=("",), sides=(28, 30, 32))},
    size_orders=(("", ""),),
    relations={
        "left_right": (_SIDE_BY_SIDE, _SIDE_BY_SIDE),
        "above_below": (("above", "over"), ("below", "under")),
    },
    one_thing=(
        "the {one.name} is {one.colour}",
        "there is {a_first}",
        "a single {first}",
        "{a_first}",
        "{a_first}",
    ),
    two_things=(
        "the {one.name} is {one.colour} and the {two.name} is {two.colour}",
        "{first} and {second}",
        "{first} and {second}",
        "{first} with {second}",
        "{a_first} and {a_second}",
        "there is {a_first} and {a_second}",
        *("{a_first} {relation} {a_second}",) * 4,
    ),
    attributes_said=0.88,
    place_said=0.4,
    function_words=FUNCTION_WORDS,
    voices=VOICES,
)
