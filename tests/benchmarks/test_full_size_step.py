from __future__ import annotations

import torch

from benchmarks.full_size_step import encode_in_parts, make_batch
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from tests.tiny import tiny_hubert_dir


def test_an_encoder_in_parts_gives_the_same_states(tmp_path) -> None:
    model = str(tiny_hubert_dir(tmp_path))
    encoder = FrozenSpeechEncoder("huggingface", model=model, normalize_waveform=True)
    batch = make_batch(5, 8)
    speech, lengths = batch["speech"], batch["speech_lengths"]
    whole = encoder(speech, lengths)
    times = encode_in_parts(encoder, 2)
    parts = encoder(speech, lengths)
    assert torch.equal(whole.lengths, parts.lengths)
    torch.testing.assert_close(whole.hidden_states, parts.hidden_states, atol=1e-4, rtol=1e-4)
    assert len(times) == 1
