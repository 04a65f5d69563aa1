"""Encoders of log-mel spectra against transformers' models and extractors, alone and batched."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import CONFIG_MAPPING, MODEL_MAPPING

from espnet_plugin.model.factory import COMPONENTS
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.backends.huggingface_loading import MODEL_TYPES
from espnet_plugin.teachers.backends.log_mel import (
    Wav2Vec2BertBackend,
    WhisperBackend,
    kaldi_features,
    whisper_features,
)
from tests.backends import check_alone_and_batched, run
from tests.tiny import tiny_hubert_dir, tiny_w2v_bert_dir, tiny_whisper_dir

# The released models that the configurations name: our word, their model_type and class.
RELEASED = {
    "facebook/wav2vec2-xls-r-300m": ("huggingface", "wav2vec2", "Wav2Vec2Model"),
    "utter-project/mHuBERT-147": ("huggingface", "hubert", "HubertModel"),
    "facebook/w2v-bert-2.0": ("w2v_bert", "wav2vec2-bert", "Wav2Vec2BertModel"),
    "openai/whisper-small": ("whisper", "whisper", "WhisperModel"),
}


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    path = tiny_whisper_dir(tmp_path_factory.mktemp("models"))
    return WhisperBackend(model=str(path)).requires_grad_(False)


@pytest.fixture(scope="module")
def whisper_in_silence(whisper):
    """Reads a second at least, as the library reads 30."""
    return WhisperBackend(model=whisper._name, context=1.0).requires_grad_(False)


@pytest.fixture(scope="module")
def w2v_bert(tmp_path_factory):
    path = tiny_w2v_bert_dir(tmp_path_factory.mktemp("models"))
    return Wav2Vec2BertBackend(model=str(path)).requires_grad_(False)


@pytest.fixture(params=["whisper", "whisper_in_silence", "w2v_bert"])
def backend(request):
    backend = copy.copy(request.getfixturevalue(request.param))
    backend.window = 50  # frames, 1 s, as the tiny Whisper has positions
    return backend


def noise(*lengths: int, seed: int = 0, garbage: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise that becomes louder, with ``garbage`` behind it."""
    generator = torch.Generator().manual_seed(seed)
    speech = torch.full((len(lengths), max(lengths)), garbage)
    for row, length in enumerate(lengths):
        loudness = torch.linspace(0.01, 0.3, length)
        speech[row, :length] = loudness * torch.randn(length, generator=generator)
    return speech, torch.tensor(lengths)


@pytest.mark.parametrize("mels", [80, 128])
def test_whispers_features_are_the_librarys(mels):
    speech, lengths = noise(16000, 40123, 479_000)
    extractor = transformers.WhisperFeatureExtractor(feature_size=mels)
    arrays = [row[:length].numpy() for row, length in zip(speech, lengths.tolist(), strict=True)]
    expected = extractor(arrays, sampling_rate=16000, return_tensors="pt").input_features
    filters = torch.from_numpy(extractor.mel_filters).float()
    ours = whisper_features(F.pad(speech, (0, 480_200 - speech.shape[1])), filters)
    torch.testing.assert_close(ours[:, :3000].transpose(1, 2), expected, rtol=1e-4, atol=1e-4)


def test_kaldis_features_are_the_librarys(w2v_bert):
    speech, lengths = noise(16000, 40123, 560, 720)
    extractor = transformers.SeamlessM4TFeatureExtractor()
    spectra = (lengths - 400) // 160 + 1
    ours = kaldi_features(speech, spectra, w2v_bert.filters, w2v_bert.povey)
    frames = w2v_bert.frame_lengths(lengths).tolist()
    for row, length in enumerate(lengths.tolist()):
        alone = extractor(speech[row, :length].numpy(), sampling_rate=16000, return_tensors="pt")
        assert int(alone.attention_mask.sum()) == frames[row] == (length - 240) // 320
        expected = alone.input_features[0, : frames[row]]
        pairs = ours[row, : 2 * frames[row]].reshape(frames[row], 160)
        torch.testing.assert_close(pairs, expected, rtol=1e-3, atol=1e-3)


def test_whispers_states_in_its_context_are_the_librarys(whisper_in_silence):
    whisper = whisper_in_silence
    speech, lengths = noise(12345)
    extractor = transformers.WhisperFeatureExtractor(chunk_length=1)
    features = extractor(speech[0].numpy(), sampling_rate=16000, return_tensors="pt")
    bare = transformers.WhisperModel.from_pretrained(whisper._name).encoder.eval()
    with torch.no_grad():
        expected = bare(features.input_features, output_hidden_states=True)
        hidden, frames = run(whisper, speech, lengths)
    assert hidden.shape == (1, 3, 39, 24) and frames.tolist() == [39]  # ceil(12345 / 320)
    for layer, state in enumerate(expected.hidden_states[:-1]):
        torch.testing.assert_close(hidden[:, layer], state[:, :39], rtol=1e-3, atol=1e-4)
    last = whisper.model.layer_norm(hidden[:, -1])  # ours is before the final norm
    torch.testing.assert_close(last, expected.last_hidden_state[:, :39], rtol=1e-3, atol=1e-4)


def test_whisper_reads_an_utterance_at_its_own_length(whisper, whisper_in_silence):
    """As long as a window, an utterance has the library's states; a shorter one sees no silence."""
    with torch.no_grad():
        whole, _ = run(whisper, *noise(16000))
        expected, _ = run(whisper_in_silence, *noise(16000))
        torch.testing.assert_close(whole, expected)
        short, _ = run(whisper, *noise(8000))
        in_silence, _ = run(whisper_in_silence, *noise(8000))
    assert (short - in_silence).abs().max() > 1e-2


def test_whisper_needs_no_decoder(tmp_path, whisper):
    directory = tmp_path / "encoder"
    directory.mkdir()
    for file in Path(whisper._name).iterdir():
        (directory / file.name).write_bytes(file.read_bytes())
    weights = load_file(directory / "model.safetensors")
    encoder = {key: value.half() for key, value in weights.items() if key.startswith("encoder.")}
    assert len(encoder) < len(weights)
    save_file(encoder, directory / "model.safetensors", metadata={"format": "pt"})
    alone = WhisperBackend(model=str(directory))
    for name, weight in whisper.model.state_dict().items():
        torch.testing.assert_close(alone.model.state_dict()[name], weight.half().float())


@pytest.mark.parametrize("context", [-1, 1.5])
def test_whispers_context_is_at_most_its_window(whisper, context):
    with pytest.raises(ValueError, match=f"context is {context}; expected seconds from 0 to 1"):
        WhisperBackend(model=whisper._name, context=context)


def test_w2v_berts_states_are_the_librarys(w2v_bert):
    speech, lengths = noise(12345, 9000)
    extractor = transformers.SeamlessM4TFeatureExtractor()
    arrays = [row[:length].numpy() for row, length in zip(speech, lengths.tolist(), strict=True)]
    features = extractor(arrays, sampling_rate=16000, return_tensors="pt")
    bare = transformers.Wav2Vec2BertModel.from_pretrained(w2v_bert._name).eval()
    with torch.no_grad():
        expected = bare(**features, output_hidden_states=True)
        hidden, frames = run(w2v_bert, speech, lengths)
    assert frames.tolist() == features.attention_mask.sum(1).tolist() == [37, 27]
    for row, own in enumerate(frames.tolist()):
        for layer, state in enumerate(expected.hidden_states[1:], start=1):
            torch.testing.assert_close(
                hidden[row, layer, :own], state[row, :own], rtol=1e-3, atol=1e-3
            )


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    lengths=st.lists(st.integers(1, 40000), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    garbage=st.sampled_from([0.0, 7.0, float("nan")]),
)
def test_same_alone_and_in_any_batch(backend, lengths, seed, garbage):
    speech, sample_lengths = noise(*lengths, seed=seed, garbage=garbage)
    check_alone_and_batched(backend, speech, sample_lengths, tolerance=1e-3)


def test_a_long_recording_is_read_in_windows(whisper):
    speech, lengths = noise(2 * 16000 + 3000)
    with torch.no_grad():
        hidden, frames = run(whisper, speech, lengths)
        assert frames.tolist() == [110] and hidden.shape[2] == 110
        features = whisper._features(speech, lengths, lengths.tolist())
        for start in (0, 50, 100):
            own = min(110 - start, 50)
            window = whisper._encode(features[:, start : start + 50], lengths - start, [own])
            torch.testing.assert_close(hidden[:, :, start : start + own], window)


def test_gradients_reach_the_layers_of_every_window(backend):
    backend = copy.deepcopy(backend).requires_grad_(True)
    speech, lengths = noise(35000, 9000)
    hidden, _ = run(backend, speech, lengths)
    with torch.no_grad():
        torch.testing.assert_close(hidden.detach(), run(backend, speech, lengths)[0])
    hidden.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backend.layers.parameters())


def test_dropouts_act_in_training_mode_only(tmp_path):
    speech, lengths = noise(9000)
    for kind, path in (
        (WhisperBackend, tiny_whisper_dir(tmp_path)),
        (Wav2Vec2BertBackend, tiny_w2v_bert_dir(tmp_path)),
    ):
        backend = kind(model=str(path), dropout=0.3).requires_grad_(False)
        first, second = (run(backend.train(), speech, lengths)[0] for _ in range(2))
        assert not torch.equal(first, second)
        first, second = (run(backend.eval(), speech, lengths)[0] for _ in range(2))
        assert torch.equal(first, second)


def test_the_wrong_word_names_the_right_one(tmp_path):
    with pytest.raises(ValueError, match="'whisper' model; .* Set speech_encoder: whisper"):
        HuggingFaceBackend(model=str(tiny_whisper_dir(tmp_path)))
    with pytest.raises(ValueError, match="Set speech_encoder: huggingface"):
        Wav2Vec2BertBackend(model=str(tiny_hubert_dir(tmp_path)))


def test_autocast_leaves_the_spectra_in_float32(backend):
    speech, lengths = noise(9000)
    with torch.no_grad():
        expected, _ = run(backend, speech, lengths)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden, _ = run(backend, speech, lengths)
    similar = F.cosine_similarity(hidden.float(), expected, dim=-1)
    assert similar.min() > 0.99


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_are_of_the_classes_that_read_them(name):
    word, model_type, model_class = RELEASED[name]
    assert model_type in MODEL_TYPES[word]
    assert COMPONENTS["speech_encoder"][word].word == word
    config = CONFIG_MAPPING[model_type]
    assert MODEL_MAPPING[config].__name__ == model_class
    assert config.model_type == model_type


def test_the_processors_settings_of_w2v_bert_are_ours(tmp_path, w2v_bert):
    released = {
        "feature_extractor_type": "SeamlessM4TFeatureExtractor",
        "feature_size": 80,
        "num_mel_bins": 80,
        "padding_side": "right",
        "padding_value": 1,
        "return_attention_mask": True,
        "sampling_rate": 16000,
        "stride": 2,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(released))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(tmp_path)
    assert extractor.num_mel_bins * extractor.stride == 160
    assert transformers.Wav2Vec2BertConfig().feature_projection_input_dim == 160
    assert torch.equal(w2v_bert.filters, torch.from_numpy(extractor.mel_filters).float())
    assert torch.equal(w2v_bert.povey, torch.from_numpy(extractor.window).float())
    assert w2v_bert.stride == 160 * extractor.stride
