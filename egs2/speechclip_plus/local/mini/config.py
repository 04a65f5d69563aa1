"""All sizes of the mini corpus and of its two small models in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from local.shared.small_clip import SmallClipConfig

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
    teacher: SmallClipConfig = field(default_factory=SmallClipConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


# The mini corpora that there are, by their worlds.
MINI_CORPORA: dict[str, MiniConfig] = {
    "default": MiniConfig(),
    # The small CLIP is mini's: it reads English. The small HuBERT hears all languages.
    "babel": MiniConfig(world=read_world("babel")),
}
