"""Mini's small CLIP, trained on new scenes without end."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from local.shared.randomness import random_stream
from local.shared.reduced_tokenizer import ReducedTokenizer
from local.shared.small_clip import (
    ImageTextBatch,
    normalise,
    save_clip,
    text_to_image_recall,
    train_clip,
)
from open_clip.model import CLIP

from .config import MiniConfig
from .corpus import draw_corpus
from .images import Painter
from .scenes import draw_caption, draw_scene
from .teacher_text import keyword_list, wrong_text


class SceneSampler:
    """Endless new scenes with texts, without the sets of things of dev and test."""

    def __init__(self, config: MiniConfig) -> None:
        scenes, _ = draw_corpus(config)
        held_out = (*scenes["dev"].values(), *scenes["test"].values())
        self._held_out = frozenset(scene.key for scene in held_out)
        self._config = config
        self._painter = Painter(config.world, image_size=config.corpus.image_size)
        self._rng = random_stream(config.seed, "teacher scenes")
        self._tokenizer = ReducedTokenizer(config.world.words)

    def draw(self) -> ImageTextBatch:
        """Draw a batch of scenes, their texts, and the wrong texts."""
        teacher, world, rng = self._config.teacher, self._config.world, self._rng
        two_objects = self._config.corpus.two_objects
        scenes = [
            draw_scene(rng, world, two_objects=two_objects, exclude=self._held_out)
            for _ in range(teacher.batch_size)
        ]
        texts: list[list[str]] = []
        longest = teacher.context_length - 2
        for scene in scenes:
            words = draw_caption(rng, world, scene, complete=rng.random() < 0.4).split()
            if rng.random() < teacher.keyword_lists:
                words = keyword_list(rng, world, words, longest=longest)
            texts.append(words)
        for index in range(round(teacher.wrong_texts * len(scenes))):
            texts.append(wrong_text(rng, world, texts[index % len(scenes)], longest=longest))
        images = np.stack([self._painter.paint(scene, rng) for scene in scenes])
        return ImageTextBatch(normalise(images), self._tokenizer.encode(texts))


def train_teacher(config: MiniConfig, root: Path) -> CLIP:
    """Train, save into ``root/clip`` and report text→image recall.

    Args:
        config: Sizes and seed.
        root: Directory of the corpus.

    Returns:
        The model with the reduced table.
    """
    torch.manual_seed(config.seed)
    tokenizer, size = ReducedTokenizer(config.world.words), config.corpus.image_size
    model = train_clip(config.teacher, SceneSampler(config).draw, tokenizer, image_size=size)
    save_clip(model, config.teacher, tokenizer, root / "clip", image_size=size, seed=config.seed)
    recalls = recall_on_test(model, config)
    logging.info(f"small CLIP: R@1, R@5, R@10 (text → image) on test {recalls}")
    return model


def recall_on_test(model: CLIP, config: MiniConfig) -> tuple[float, ...]:
    """Return :func:`text_to_image_recall` of the captions of mini's test split."""
    scenes, captions = draw_corpus(config)
    painter = Painter(config.world, image_size=config.corpus.image_size)
    rng = random_stream(config.seed, "teacher evaluation")
    painted = [painter.paint(scene, rng) for scene in scenes["test"].values()]
    return text_to_image_recall(
        model,
        ReducedTokenizer(config.world.words),
        dict(zip(scenes["test"], painted, strict=True)),
        [(caption.image_id, caption.english or caption.text) for caption in captions["test"]],
    )
