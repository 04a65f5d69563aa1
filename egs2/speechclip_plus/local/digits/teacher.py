"""Train the digits corpus's small CLIP on handwriting.

python -m local.digits.teacher --root downloads/digits

It reads strings of one to five digits in order. It sees training's handwriting, and neither speech
nor images of the strings of dev and test. But of the texts that it reads as wrong ones, 7.7 % are
strings of dev and test, because only the right texts leave these out.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from local.shared.randomness import random_stream, seed_of
from local.shared.reduced_tokenizer import ReducedTokenizer
from local.shared.small_clip import (
    ImageTextBatch,
    SmallClipConfig,
    normalise,
    save_clip,
    text_to_image_recall,
    train_clip,
)
from PIL import Image

from espnet_plugin.data.record import is_made_from, make_record, write_record
from espnet_plugin.utils.command import command_errors

from .strings import WORDS, draw_strings, handwriting, paint, picture_path, spoken

VERSION = 4  # raise it when the code makes another model
CLIP_SIZE = 64  # pixels that the small CLIP sees
TEACHER = SmallClipConfig(steps=700, vision_layers=(1, 1, 1, 1), vision_width=16, text_layers=2)
THREADS = 2  # fixed: a seed gives the same model on any number of cores
LONGEST = 5  # digits; short strings show early what a digit looks like


def seen(picture: Image.Image) -> np.ndarray:
    """What the small CLIP sees of an image, uint8 (CLIP_SIZE, CLIP_SIZE, 3)."""
    size = (CLIP_SIZE, CLIP_SIZE)
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC))


class StringSampler:
    """Endless new strings in training's handwriting; those of dev and test are wrong texts only."""

    def __init__(self, config: SmallClipConfig, tokenizer: ReducedTokenizer, seed: int) -> None:
        strings = draw_strings(seed)
        held_out = ("dev", "test", "five")
        self._held_out = frozenset(string for name in held_out for string in strings[name])
        self._config = config
        self._tokenizer = tokenizer
        self._images = handwriting("train", seed)
        self._rng = random_stream(seed, "teacher strings")

    def draw(self) -> ImageTextBatch:
        """Draw a batch of images with their texts, followed by texts that are nearly right."""
        number = self._config.batch_size
        strings = [self._string() for _ in range(number)]
        pictures = [seen(paint(string, self._images, self._rng)) for string in strings]
        texts = [self._words(string) for string in strings]
        for index in range(round(self._config.wrong_texts * number)):
            texts.append(self._words(self._almost(strings[index % number])))
        return ImageTextBatch(normalise(np.stack(pictures)), self._tokenizer.encode(texts))

    def _string(self) -> str:
        while True:
            digits = self._rng.integers(10, size=self._rng.integers(1, LONGEST + 1))
            string = "".join(map(str, digits))
            if string not in self._held_out:
                return string

    def _words(self, string: str) -> list[str]:
        """A string's words; half of the time some are said twice, as a keyword extractor may."""
        repeat = self._rng.random() * 0.5 if self._rng.random() < 0.5 else 0.0
        return [
            word
            for word in spoken(string).split()
            for _ in range(1 + int(self._rng.random() < repeat))
        ]

    def _almost(self, string: str) -> str:
        """The string with one digit exchanged for another, or two digits for each other."""
        digits = list(string)
        one, two = self._rng.integers(len(digits), size=2)
        if digits[one] != digits[two] and self._rng.random() < 0.7:
            digits[one], digits[two] = digits[two], digits[one]
        else:
            digits[one] = str((int(digits[one]) + self._rng.integers(1, 10)) % 10)
        return "".join(digits)


def train_teacher(root: Path, *, config: SmallClipConfig, seed: int) -> None:
    """Train and save into ``root/clip``; report recall on the images of dev, test and five."""
    torch.manual_seed(seed)
    tokenizer = ReducedTokenizer(WORDS)
    sampler = StringSampler(config, tokenizer, seed)
    model = train_clip(config, sampler.draw, tokenizer, image_size=CLIP_SIZE)
    save_clip(model, config, tokenizer, root / "clip", image_size=CLIP_SIZE, seed=seed)
    for name in ("dev", "test", "five"):
        strings = draw_strings(seed)[name]
        files = {string: picture_path(root, name, string) for string in strings}
        pictures = {string: seen(Image.open(file)) for string, file in files.items()}
        captions = [(string, spoken(string)) for string in strings]
        recalls = text_to_image_recall(model, tokenizer, pictures, captions)
        logging.info(f"small CLIP: R@1, R@5, R@10 (text → image) on {name} {recalls}")


@command_errors("digits")
def main(cmd: list[str] | None = None) -> None:
    """Train, unless the CLIP that is there was made in the same way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="digits", help="of the sets; digits_seed3 has seed 3")
    parser.add_argument("--root", type=Path, required=True, help="downloads/NAME")
    parser.add_argument("--clip_steps", type=int, default=TEACHER.steps)
    args = parser.parse_args(cmd)
    config, seed = replace(TEACHER, steps=args.clip_steps), seed_of(args.name)
    record = make_record("small CLIP of digits", {"seed": seed, **asdict(config)}, version=VERSION)
    if is_made_from(args.root / ".clip", record):
        logging.info("small CLIP: finished before, kept")
        return
    torch.set_num_threads(THREADS)
    train_teacher(args.root, config=config, seed=seed)
    write_record(args.root / ".clip", record)


if __name__ == "__main__":
    main()
