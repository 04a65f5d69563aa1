"""The hard world: more things, sizes, relations that matter, more voices, rooms and noise."""

from __future__ import annotations

from .lexicon import COLOURS, OBJECTS, PLACE_PHRASES, PLACES, VOICES
from .world import Acoustics, Size, World

_OBJECTS = OBJECTS | {
    "apple": "1F34E",
    "bell": "1F514",
    "bird": "1F426",
    "book": "1F4D5",
    "bottle": "1F37E",
    "burger": "1F354",
    "camel": "1F42B",
    "candle": "1F56F",
    "car": "1F697",
    "carrot": "1F955",
    "castle": "1F3F0",
    "cat": "1F408",
    "cheese": "1F9C0",
    "cherry": "1F352",
    "church": "26EA",
    "cloud": "2601",
    "cow": "1F404",
    "crab": "1F980",
    "crocodile": "1F40A",
    "cup": "1F375",
    "diamond": "1F48E",
    "dolphin": "1F42C",
    "dragon": "1F409",
    "dress": "1F457",
    "drum": "1F941",
    "duck": "1F986",
    "flamingo": "1F9A9",
    "frog": "1F438",
    "ghost": "1F47B",
    "giraffe": "1F992",
    "hat": "1F3A9",
    "heart": "2764",
    "helicopter": "1F681",
    "horse": "1F40E",
    "kangaroo": "1F998",
    "key": "1F511",
    "ladder": "1FA9C",
    "lemon": "1F34B",
    "lion": "1F981",
    "lobster": "1F99E",
    "microphone": "1F3A4",
    "mountain": "26F0",
    "owl": "1F989",
    "pencil": "270F",
    "piano": "1F3B9",
    "pig": "1F416",
    "pineapple": "1F34D",
    "pumpkin": "1F383",
    "robot": "1F916",
    "sandwich": "1F96A",
    "saxophone": "1F3B7",
    "scorpion": "1F982",
    "shark": "1F988",
    "sheep": "1F411",
    "shirt": "1F455",
    "skateboard": "1F6F9",
    "skull": "1F480",
    "snail": "1F40C",
    "sofa": "1F6CB",
    "squirrel": "1F43F",
    "suitcase": "1F9F3",
    "sword": "1F5E1",
    "tractor": "1F69C",
    "train": "1F686",
}

_RELATIONS = {
    "left_right": (("left of",), ("right of",)),
    "above_below": (("above", "over"), ("below", "under")),
}

_VOICES = VOICES + tuple(
    f"{accent}+{variant}"
    for accent, variants in {
        "en-gb-scotland": "m1 m3 m7 f1 f4 Annie linda paul Gene",
        "en-gb-x-rp": "m2 m6 m8 Alex Lee Michael steph shelby Mario",
        "en-029": "m4 f1 Andy Diogo anika max robert m1 f4",
        "en-us-nyc": "m2 m6 m8 Annie ian linda Gene shelby",
    }.items()
    for variant in variants.split()
)

HARD = World(
    objects=_OBJECTS,
    colours=COLOURS | {"brown": (130, 80, 35), "pink": (255, 150, 200)},
    places=PLACES,
    place_phrases=PLACE_PHRASES,
    sizes={
        "large": Size(words=("big", "large"), sides=(30, 31, 32)),
        "small": Size(words=("small", "little"), sides=(17, 18, 19)),
    },
    size_orders=(("large", "small"), ("small", "large")),
    distinct_colours=True,
    relations=_RELATIONS,
    one_thing=("{a_first}",),
    two_things=(
        "{a_first} {relation} {a_second}",
        "{a_first} is {relation} {a_second}",
        "there is {a_first} {relation} {a_second}",
        "the {first} is {relation} the {second}",
        "we see {a_first} {relation} {a_second}",
    ),
    attributes_said=0.95,
    place_said=0.3,
    other_content=("big", "large", "small", "little", "left", "right", "above", "over", "below",
                   "under"),
    function_words=("a", "an", "at", "in", "is", "of", "on", "see", "the", "there", "we"),
    voices=_VOICES,
    acoustics=Acoustics(
        reverberation_time=(0.15, 0.6),
        direct_to_reverberant=(0.0, 15.0),
        signal_to_noise=(5.0, 30.0),
        noise_slope=(0.0, 2.0),
    ),
    siblings={"train": 1, "dev": 4, "test": 4},
    version=("hard", "1"),
)  # fmt: skip
