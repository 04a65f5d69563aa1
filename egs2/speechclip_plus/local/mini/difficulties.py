"""The mini corpora that there are."""

from __future__ import annotations

from .config import CorpusConfig, EncoderConfig, MiniConfig, TeacherConfig
from .hard import HARD
from .words import WORDS

DIFFICULTIES: dict[str, MiniConfig] = {
    "default": MiniConfig(),
    "hard": MiniConfig(
        world=HARD,
        corpus=CorpusConfig(
            dev_images=200,
            test_images=400,
            two_objects=1.0,
            unseen_voices=12,
            words_per_minute=(140, 210),
            pitch=(35, 65),
            pitch_range=(35, 65),
        ),
        # The order of words says which thing is where. One layer reads it badly, and keyword lists
        # teach a text tower to ignore it.
        teacher=TeacherConfig(steps=1000, text_layers=2, keyword_lists=0.3, wrong_texts=0.5),
        encoder=EncoderConfig(steps=400),
    ),
    "words": MiniConfig(
        world=WORDS,
        corpus=CorpusConfig(train_images=3600, dev_images=250, test_images=500),
        teacher=TeacherConfig(steps=2000),
        encoder=EncoderConfig(steps=800),
    ),
}
