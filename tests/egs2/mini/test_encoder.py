from __future__ import annotations

import importlib.util
import math
import wave

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from local.mini.audio import length_batches, load_batch
from local.mini.corpus import draw_corpus
from local.mini.encoder import (
    build_encoder,
    draw_mask,
    masked_prediction_loss,
    train_encoder,
)
from local.mini.encoder_init import gabor_filters
from local.mini.units import UnitCodebook, frame_count, spectra, with_context

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sklearn",)),
    reason="needs the extra 'mini'",
)


def _write(path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples * 20000).astype("<i2").tobytes())


@pytest.fixture
def wavs(tmp_path):
    rng = np.random.default_rng(0)
    lengths = {"a": 4000, "b": 5200, "c": 4600}
    for name, length in lengths.items():
        _write(tmp_path / f"{name}.wav", rng.uniform(-1, 1, length))
    return tmp_path


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(880, 20000))
def test_frame_count_is_the_convolutions(samples):
    length = samples
    for kernel, stride in ((160, 80), (4, 2), (4, 2)):
        length = (length - kernel) // stride + 1
    assert frame_count(torch.tensor(samples)).item() == length


def test_waveforms_are_normalised_and_padded(wavs):
    batch = load_batch(wavs, ["a", "b"])
    assert batch.waveforms.shape == (2, 5200)
    own = batch.waveforms[0, :4000]
    assert abs(own.mean()) < 1e-5 and abs(own.var(unbiased=False) - 1) < 1e-3
    assert (batch.waveforms[0, 4000:] == 0).all()


def test_batches_cover_everything_before_they_repeat():
    batches = length_batches({"a": 8044, "b": 10444, "c": 9244}, 2, np.random.default_rng(0))
    seen = next(batches) + next(batches)
    assert sorted(seen) == ["a", "b", "c"]


def test_spectra_do_not_see_padding(wavs):
    together = spectra(*_speech(load_batch(wavs, ["a", "b"])))[0]
    alone = spectra(*_speech(load_batch(wavs, ["a"])))[0]
    assert together.shape == (frame_count(torch.tensor(4000)), 160)
    assert torch.allclose(together, alone, atol=1e-4)


def _speech(batch):
    return batch.waveforms, batch.lengths


def test_context_repeats_the_edges():
    frames = torch.tensor([[1.0], [2.0], [3.0]])
    expected = torch.tensor([[1.0, 1, 2], [1, 2, 3], [2, 3, 3]])
    assert torch.equal(with_context(frames, 1), expected)


def test_units_are_the_nearest_centres():
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(200, 6, generator=rng)
    codebook = UnitCodebook(features, 5, seed=0, components=6)
    units = codebook.assign(features)
    projected = (features - codebook._mean) @ codebook._basis
    for row, unit in zip(projected, units.tolist(), strict=True):
        distances = [(row - centre).norm().item() for centre in codebook.centres]
        assert distances[unit] == pytest.approx(min(distances), abs=1e-4)


def test_mask_stays_inside_and_masks_something():
    rng = np.random.default_rng(0)
    for _ in range(50):
        mask = draw_mask(rng, torch.tensor([3, 20, 50]), start=0.05, span=6)
        assert mask.any(1).all()
        assert not mask[0, 3:].any() and not mask[1, 20:].any()


def test_loss_by_hand():
    logits = torch.zeros(1, 3, 4)
    units = torch.tensor([[1, 2, -100]])
    mask = torch.tensor([[True, False, False]])
    loss = masked_prediction_loss(logits, units, mask, unmasked_weight=0.5)
    assert loss.item() == pytest.approx(1.5 * math.log(4))


def test_gabor_filters_have_unit_norm_and_no_offset():
    filters = gabor_filters(160)
    assert filters.shape == (160, 160)
    assert torch.allclose(filters.norm(dim=1), torch.ones(160), atol=1e-5)
    assert filters.sum(1).abs().max() < 1e-3


def hidden_states(model, batch):
    """All of them, each (batch, frames, hidden)."""
    mask = (torch.arange(batch.waveforms.shape[1]) < batch.lengths[:, None]).long()
    with torch.no_grad():
        return model(batch.waveforms, attention_mask=mask, output_hidden_states=True).hidden_states


def test_an_utterance_is_encoded_alike_alone_and_in_a_batch(wavs, tiny_config):
    torch.manual_seed(0)
    model = build_encoder(tiny_config.encoder)
    together, alone = (
        hidden_states(model.eval(), load_batch(wavs, names)) for names in (["a", "b"], ["a"])
    )
    frames = int(frame_count(torch.tensor(4000)))
    for one, both in zip(alone, together, strict=True):
        assert torch.allclose(one[0], both[0, :frames], atol=1e-5)


def test_pretrained_model_loads_with_transformers(tmp_path, tiny_config):
    rng = np.random.default_rng(1)
    for caption in draw_corpus(tiny_config)[1]["train"]:
        samples = rng.uniform(-1, 1, int(rng.integers(3000, 6000)))
        _write(tmp_path / "wavs" / f"{caption.utterance_id}.wav", samples)
    model = train_encoder(tiny_config, tmp_path)
    loaded = transformers.HubertModel.from_pretrained(tmp_path / "hubert").eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path / "hubert")
    assert extractor.do_normalize and extractor.sampling_rate == 16000
    batch = load_batch(tmp_path / "wavs", ["train_00000_0"])
    for ours, theirs in zip(hidden_states(model, batch), hidden_states(loaded, batch), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
