"""What a scene may hold: objects (with their OpenMoji code points), colours and places.

Every name is one CLIP sub-word; names were picked to differ in sound and in shape.
"""

from __future__ import annotations

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

# sRGB of the brightest part of a tinted glyph.
COLOURS: dict[str, tuple[int, int, int]] = {
    "blue": (45, 90, 235),
    "green": (30, 165, 60),
    "orange": (255, 140, 10),
    "purple": (150, 50, 200),
    "red": (225, 35, 40),
    "yellow": (255, 225, 30),
}

# Place: sRGB of the background.
PLACES: dict[str, tuple[int, int, int]] = {
    "beach": (240, 218, 178),
    "grass": (186, 224, 160),
    "night": (92, 98, 128),
    "snow": (243, 247, 252),
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
CONTENT_WORDS: frozenset[str] = frozenset((*OBJECTS, *COLOURS, *PLACES))

# The engine's voice + variant. Left out: whispering and robotic variants, and those whose sound
# differs between two runs of the engine (f2 f3 f5 Alicia sandro victor).
VOICES: tuple[str, ...] = (
    "en-us+m1", "en-us+m3", "en-us+m6", "en-us+m7", "en-us+f1", "en-us+f4", "en-us+Alex",
    "en-us+Annie", "en-us+Diogo", "en-us+Lee", "en-us+Michael", "en-us+anika", "en-us+ian",
    "en-us+linda", "en-us+max", "en-us+paul", "en-us+steph", "en+m2", "en+m4", "en+m8", "en+Andy",
    "en+Gene", "en+Mario", "en+robert", "en+shelby",
)  # fmt: skip
