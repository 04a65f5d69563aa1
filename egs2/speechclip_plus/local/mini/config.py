"""All sizes of the mini corpus and of its two small models in one place."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .world import World, read_world


@dataclass(frozen=True)
class CorpusConfig:
    """Scenes, captions and voices.

    Attributes:
        train_images, dev_images, test_images: Number of scenes, with five captions each.
        two_objects: Probability that a scene holds two objects instead of one.
        image_size: Side of an image in pixels; it has four cells of ``image_size / 2``.
        unseen_voices: Number of voices outside the training set; each seed draws them again.
        words_per_minute, pitch, pitch_range: Ranges to draw from, in eSpeak NG's units.
        utterances_per_block: Number of utterances that one synthesis process speaks. Another one
            gives other recordings, because the engine keeps state between sentences.
    """

    train_images: int = 2000
    dev_images: int = 150
    test_images: int = 200
    two_objects: float = 0.8
    image_size: int = 64
    unseen_voices: int = 5
    words_per_minute: tuple[int, int] = (150, 190)
    pitch: tuple[int, int] = (40, 60)
    pitch_range: tuple[int, int] = (40, 60)
    utterances_per_block: int = 500


@dataclass(frozen=True)
class TeacherConfig:
    """The small CLIP and its training.

    Attributes:
        vision_layers: Number of layers of a ViT, or a tuple with the blocks of a ResNet's four
            stages. The ResNet learns hundreds of glyphs in a quarter of the steps.
        vision_width: Width of the ViT, or of the ResNet's first stage.
        text_layers: Number of layers of the text tower. One layer reads a text almost word by word:
            no sequence of wrong words then describes an image better than the right ones. It also
            learns faster than three.
        keyword_lists: Share of captions that are turned into keyword lists.
        wrong_texts: Number of texts with wrong content words for each image, as its negatives.
    """

    steps: int = 480
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    warmup_steps: int = 60
    embedding_dim: int = 128
    vision_width: int = 128
    vision_layers: int | tuple[int, ...] = 4
    patch_size: int = 16
    text_width: int = 128
    text_layers: int = 1
    text_heads: int = 4
    context_length: int = 32
    keyword_lists: float = 0.5
    wrong_texts: float = 1.0


@dataclass(frozen=True)
class EncoderConfig:
    """The small HuBERT and its pre-training."""

    steps: int = 220
    batch_size: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup_steps: int = 40
    hidden_size: int = 128
    layers: int = 3
    heads: int = 4
    units: int = 128
    mask_span: int = 6
    mask_start: float = 0.08
    unmasked_weight: float = 1.0


@dataclass(frozen=True)
class MiniConfig:
    """Everything that decides what the mini corpus holds."""

    seed: int = 0
    world: World = field(default_factory=partial(read_world, "default"))
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


# The mini corpora that there are.
DIFFICULTIES: dict[str, MiniConfig] = {
    "default": MiniConfig(),
    "words": MiniConfig(
        world=read_world("words"),
        corpus=CorpusConfig(train_images=3600, dev_images=250, test_images=500),
        teacher=TeacherConfig(steps=1500, vision_layers=(1, 1, 1, 1), vision_width=32),
        encoder=EncoderConfig(steps=800),
    ),
    # The small CLIP is mini's: it reads English. The small HuBERT hears all languages.
    "babel": MiniConfig(world=read_world("babel")),
}


def rate_factor(step: int, config: TeacherConfig | EncoderConfig) -> float:
    """The share of the highest learning rate, which rises linearly and falls as half a cosine."""
    warm = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(config.steps, 1))))


def seed_of(corpus: str) -> int:
    """The seed of a generated corpus by its name: 3 of ``mini_seed3``, 0 of ``mini``."""
    named = re.search(r"_seed(\d+)$", corpus)
    return int(named[1]) if named else 0


def random_stream(seed: int, name: str) -> np.random.Generator:
    """Return the stream of a seed and a name, independent of all others."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(name.encode())))
