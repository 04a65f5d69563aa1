"""Which strings of digits each set has, and how an image of one is drawn.

python -m local.digits.strings draws the images of corpus seed 0 into downloads/digits/images.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from local.shared.randomness import random_stream
from PIL import Image

from espnet_plugin.utils.atomic import atomic_path

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# images of each set; "strangers" has those of test, and "five" has strings of five digits
PICTURES = {"train": 760, "dev": 80, "test": 160}
FIVE = 160
# other strings of dev, by their number of digits: what is selected on dev must suit them, too
OTHER_LENGTHS = {2: 20, 4: 30, 5: 30}
IMAGE_SIZE = 128  # pixels
# which part of each digit's images, in an order that is drawn
_HANDWRITING = {"train": (0.0, 0.7), "dev": (0.7, 0.8), "test": (0.8, 1.0)}
_PAPER, _INK = np.array([250.0, 247.0, 240.0]), np.array([28.0, 44.0, 92.0])  # sRGB


def draw_strings(seed: int) -> dict[str, list[str]]:
    """Draw the strings of each set; every ordered triple is in one of train, dev and test.

    Dev has some shorter and longer strings, too.
    """
    rng = random_stream(seed, "strings")
    triples = ["".join(digits) for digits in product("0123456789", repeat=3)]
    order = iter(rng.permutation(len(triples)))
    strings = {
        name: sorted(triples[next(order)] for _ in range(count)) for name, count in PICTURES.items()
    }
    drawn = rng.choice(10**5, FIVE, replace=False)
    strings |= {"strangers": strings["test"], "five": [f"{n:05d}" for n in sorted(drawn)]}
    rng = random_stream(seed, "strings of other lengths")
    for digits, count in OTHER_LENGTHS.items():
        order = [f"{number:0{digits}d}" for number in rng.permutation(10**digits)]
        free = [string for string in order if string not in strings["five"]]
        strings["dev"] += sorted(free[:count])
    return strings


def split_of(name: str) -> str:
    """The split whose recordings and handwriting a set has: its own, or test's."""
    return name if name in PICTURES else "test"


def handwriting(split: str, seed: int) -> dict[str, np.ndarray]:
    """Images of each digit in a split, (images, 8, 8) in 0 to 1; no two splits share one."""
    from sklearn.datasets import load_digits

    data = load_digits()
    rng = random_stream(seed, "handwriting")
    images = {}
    for digit in range(10):
        own = data.images[data.target == digit] / 16.0
        own = own[rng.permutation(len(own))]
        first, last = (round(share * len(own)) for share in _HANDWRITING[split])
        images[str(digit)] = own[first:last]
    return images


def paint(
    string: str, images: dict[str, np.ndarray], rng: np.random.Generator, *, size: int = IMAGE_SIZE
) -> Image.Image:
    """Paint an image of a string, written from left to right, (size, size) pixels.

    Args:
        string: Digits to write.
        images: Handwriting to draw from.
        rng: Source of randomness for the handwriting and for where the line stands.
        size: Side of the image in pixels.
    """
    side = int(0.94 * size / max(len(string), 3))
    ink = np.zeros((size, size))
    top = (size - side) // 2 + int(rng.integers(-size // 10, size // 10 + 1))
    left = (size - side * len(string)) // 2
    for place, digit in enumerate(string):
        drawn = images[digit][rng.integers(len(images[digit]))]
        pixels = Image.fromarray(drawn.astype(np.float32)).resize((side, side), Image.BICUBIC)
        ink[top : top + side, left + place * side : left + (place + 1) * side] = pixels
    ink = ink.clip(0.0, 1.0)[..., None]
    return Image.fromarray((_PAPER + ink * (_INK - _PAPER)).round().astype(np.uint8))


def spoken(string: str) -> str:
    """Words that people say for a string.

    >>> spoken("274")
    'two seven four'
    """
    return " ".join(WORDS[int(digit)] for digit in string)


def draw_pictures(strings: Mapping[str, Sequence[str]], folder: Path, *, seed: int) -> None:
    """Write the image of each string, in the handwriting of its set's split."""
    for name in (*PICTURES, "five"):
        images, rng = handwriting(split_of(name), seed), random_stream(seed, f"{name} pictures")
        for string in strings[name]:
            file = io.BytesIO()
            paint(string, images, rng).save(file, format="PNG")
            write_changed(picture_path(folder, name, string), file.getvalue())


def picture_path(folder: Path, name: str, string: str) -> Path:
    """File of a string's image in a set, ``images/<split>_<string>.png``."""
    return folder / "images" / f"{split_of(name)}_{string}.png"


def write_changed(path: Path, content: bytes) -> None:
    """Writes a file unless it is there; what was made from it then stays fresh."""
    if not path.is_file() or path.read_bytes() != content:
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)


if __name__ == "__main__":
    target = Path("downloads/digits")
    (target / "images").mkdir(parents=True, exist_ok=True)
    draw_pictures(draw_strings(0), target, seed=0)
