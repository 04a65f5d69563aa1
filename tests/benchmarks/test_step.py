from __future__ import annotations

from benchmarks.step import make_batch, time_encoder
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_batch import loaded_batch
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from tests.tiny import tiny_hubert_dir


def test_the_encoder_is_timed_and_gives_the_same(tmp_path) -> None:
    model = str(tiny_hubert_dir(tmp_path))
    encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=model))
    batch = loaded_batch(make_batch(3, 8))
    times = time_encoder(encoder)
    (states,), order = encoder.in_parts(batch)
    assert order is None
    assert len(times) == 1
    assert len(states.lengths) == 3
