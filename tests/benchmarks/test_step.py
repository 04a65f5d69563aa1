"""The benchmarks of a training step run on tiny frozen models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.step import CONFIGS, make_batch, measure, time_encoder
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from tests.tiny import tiny_hubert_dir


def test_the_encoder_is_timed_and_gives_the_same(tmp_path: Path) -> None:
    model = str(tiny_hubert_dir(tmp_path))
    encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=model))
    times = time_encoder(encoder)
    (states,), order = encoder.in_parts(make_batch(3, 8)["speech"])
    assert order is None
    assert len(times) == 1
    assert len(states.lengths) == 3


@pytest.mark.slow
def test_a_step_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)  # of later tests, too
    name, batch, *numbers = measure(CONFIGS / "flickr8k_base_hybrid_plus.yaml", tiny=True)
    assert (name, batch.split(",")[0]) == ("flickr8k_base_hybrid_plus", "2 utterances")
    assert len(numbers) == 6
