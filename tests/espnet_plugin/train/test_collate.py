"""Speech of a batch, from the loader to the model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from espnet2.torch_utils.device_funcs import to_device
from torch.utils.data import DataLoader

from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.train.collate import SpeechCollate

SPEECH = [np.arange(1, n + 1, dtype=np.float32) / 10 for n in (3, 1)]


def test_waveforms_are_padded_and_converted_once() -> None:
    items = [("a", {"speech": SPEECH[0]}), ("b", {"speech": SPEECH[1]})]
    utterances, batch = SpeechCollate(normalized=True)(items)
    assert utterances == ["a", "b"] and set(batch) == {"speech"}
    speech = batch["speech"]
    assert speech.lengths.tolist() == [3, 1] and speech.normalized and speech.states is None
    expected = torch.tensor([[0.1, 0.2, 0.3], [0.1, 0.0, 0.0]])
    torch.testing.assert_close(speech.waveforms, expected)
    whole = [("a", {"speech": np.array([16384, -32768], np.int16)})]
    assert SpeechCollate()(whole)[1]["speech"].waveforms.tolist() == [[0.5, -1.0]]


def test_codes_keep_their_scales_and_dimensions() -> None:
    items = [
        (
            name,
            {
                "speech_states": np.ones((frames, 2, 4), np.int8),
                "speech_states_scale": np.ones((frames, 2), np.float16),
                "speech_states_dimensions": np.ones((2, 2, 4), np.float32),
            },
        )
        for name, frames in (("a", 3), ("b", 2))
    ]
    speech = SpeechCollate()(items)[1]["speech"]
    assert speech.lengths.tolist() == [3, 2] and speech.waveforms is None
    shapes = [tuple(x.shape) for x in (speech.states, speech.scale, speech.dimensions)]
    assert shapes == [(2, 3, 2, 4), (2, 3, 2), (2, 2, 2, 4)]


def test_a_batch_without_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="either speech or speech_states"):
        SpeechCollate()([("a", {"image": np.zeros(4, np.float32)})])


def test_espnet_and_workers_pass_a_batch_on_without_a_copy() -> None:
    items = [("a", {"speech": SPEECH[0]}), ("b", {"speech": SPEECH[1]})]
    ((_, batch),) = DataLoader(items, batch_size=2, num_workers=1, collate_fn=SpeechCollate())
    moved = to_device(batch, "cpu")["speech"]
    assert isinstance(moved, SpeechBatch)
    assert moved.waveforms.data_ptr() == batch["speech"].waveforms.data_ptr()


def test_rows_are_cut_at_their_longest() -> None:
    speech = SpeechBatch(torch.tensor([3, 1]), torch.arange(6.0).view(2, 3), normalized=True)
    part = speech.rows(torch.tensor([1]), 1)
    assert (part.lengths.tolist(), part.waveforms.tolist()) == ([1], [[3.0]]) and part.normalized
