"""How hard a mini corpus may be."""

from __future__ import annotations

from .config import CorpusConfig, EncoderConfig, MiniConfig, TeacherConfig
from .hard import HARD

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
        # Who is where is read from the order of words, which one layer tells badly, and keyword
        # lists teach a text tower to ignore it.
        teacher=TeacherConfig(steps=1000, text_layers=2, keyword_lists=0.3, wrong_texts=0.5),
        encoder=EncoderConfig(steps=400),
    ),
}
