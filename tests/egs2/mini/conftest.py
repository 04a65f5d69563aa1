"""A mini corpus of seconds."""

from __future__ import annotations

import pytest


@pytest.fixture
def tiny_config():
    """Return a configuration of seconds: a handful of scenes, models of a few thousand weights."""
    from local.mini.config import CorpusConfig, EncoderConfig, MiniConfig
    from local.shared.small_clip import SmallClipConfig

    return MiniConfig(
        seed=3,
        corpus=CorpusConfig(
            train_images=4, dev_images=1, test_images=2, image_size=32, utterances_per_block=10
        ),
        teacher=SmallClipConfig(
            steps=2, batch_size=8, warmup_steps=1, embedding_dim=16, vision_width=32,
            vision_layers=1, text_width=16, text_layers=1, text_heads=2,
        ),
        encoder=EncoderConfig(
            steps=2, batch_size=4, warmup_steps=1, hidden_size=32, layers=1, heads=2, units=8
        ),
    )  # fmt: skip
