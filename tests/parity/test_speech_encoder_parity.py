"""Hidden states of our speech encoder against those that the reference implementation computed.

Every ``models_*.pt`` in the fixture directory is used, and every lone utterance in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from espnet_plugin.pretrained.convert.fairseq_hubert import (
    hubert_config_options,
    map_fairseq_hubert,
)
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from tests.parity.fixtures import DIRECTORY
from tests.parity.models import normalizes_waveform

FILES = sorted(DIRECTORY.rglob("models_*.pt"))
PREFIX = "audio_encoder.encoder."

pytestmark = pytest.mark.skipif(not FILES, reason=f"no models_*.pt in {DIRECTORY}")


@lru_cache(maxsize=2)
def content(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def fairseq_weights(path: Path) -> dict[str, torch.Tensor]:
    weights = content(path)["state_dict"]
    return {key.removeprefix(PREFIX): value for key, value in weights.items() if PREFIX in key}


def utterances(path: Path) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(samples, hidden states (layers + 1, 1, frames, dim)) of every lone utterance."""
    for case in content(path)["cases"]:
        if "utterances" in case["outputs"]:
            for wave, expected in zip(
                case["inputs"]["wavs_int16"], case["outputs"]["utterances"], strict=True
            ):
                yield wave.float() / 32768, expected["hidden_states"]


@pytest.fixture(scope="module", params=FILES or [None], ids=lambda path: path and path.stem)
def model(request, tmp_path_factory):
    """The path of a fixture file and our encoder with its weights."""
    path = request.param
    weights = fairseq_weights(path)
    hubert = transformers.HubertModel(transformers.HubertConfig(**hubert_config_options(weights)))
    report = hubert.load_state_dict(map_fairseq_hubert(weights), strict=False)
    assert report.unexpected_keys == []
    assert set(report.missing_keys) <= {"masked_spec_embed"}
    directory = tmp_path_factory.mktemp("hubert")
    hubert.save_pretrained(directory)
    normalize = normalizes_waveform(content(path))
    return path, FrozenSpeechEncoder(
        HuggingFaceBackend(model=str(directory)), normalize_waveform=normalize
    )


def test_sizes_are_inferred_from_shapes(model):
    path, encoder = model
    for name, value in content(path)["encoder"].items():
        if name != "waveform_layer_norm_in_encoder":
            own = getattr(encoder.backend.model.config, name)
            assert (list(own) if isinstance(own, tuple) else own) == value, name


def test_lone_utterances(model):
    path, encoder = model
    cases = list(utterances(path))
    if not cases:
        pytest.skip(f"{path.name} has no lone utterances")
    for wave, expected in cases:
        states = encoder(wave.unsqueeze(0), torch.tensor([len(wave)]))
        actual = states.hidden_states.transpose(0, 1)  # (layers + 1, 1, frames, dim)
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def test_batch_reproduces_lone_utterances(model):
    path, encoder = model
    cases = list(utterances(path))
    if not cases:
        pytest.skip(f"{path.name} has no lone utterances")
    waves, expected = zip(*cases, strict=True)
    lengths = torch.tensor([len(wave) for wave in waves])
    speech = torch.nn.utils.rnn.pad_sequence(list(waves), batch_first=True, padding_value=0.5)
    states = encoder(speech, lengths)
    assert states.lengths.tolist() == [hidden.shape[2] for hidden in expected]
    for row, hidden in enumerate(expected):
        own = states.hidden_states[row, :, : hidden.shape[2]]
        torch.testing.assert_close(own, hidden[:, 0], rtol=1e-4, atol=1e-4)
