"""The transformers backend against the bare library, and alone against batched."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espnet_plugin.teachers.backends.huggingface import (
    HuggingFaceBackend,
    conv_output_lengths,
    receptive_field,
)
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from tests.backends import check_alone_and_batched, run
from tests.tiny import tiny_encoder_options, tiny_hubert_dir

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
LAYOUTS = [
    ("HubertModel", False),
    ("HubertModel", True),
    ("Wav2Vec2Model", False),
    ("Wav2Vec2Model", True),
    ("WavLMModel", False),
    ("WavLMModel", True),
]


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: f"{layout[0]}-{layout[1]}")
def backend(request, tmp_path_factory):
    model_class, stable = request.param
    directory = tmp_path_factory.mktemp("models")
    path = tiny_hubert_dir(directory, stable=stable, model_class=model_class)
    return HuggingFaceBackend(model=str(path)).requires_grad_(False)


def noise(*lengths: int, seed: int = 0, garbage: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random waveforms; ``garbage`` fills the padding."""
    generator = torch.Generator().manual_seed(seed)
    speech = torch.full((len(lengths), max(lengths)), garbage)
    for row, length in enumerate(lengths):
        speech[row, :length] = 0.3 * torch.randn(length, generator=generator) + 0.05
    return speech, torch.tensor(lengths)


def test_receptive_field_and_lengths():
    assert receptive_field(KERNELS, STRIDES) == 400
    samples = torch.tensor([400, 719, 720, 16000, 102400])
    frames = conv_output_lengths(samples, KERNELS, STRIDES)
    assert frames.tolist() == [1, 1, 2, 49, 319]
    assert frames.tolist() == [(n - 400) // 320 + 1 for n in samples.tolist()]


def test_matches_bare_library_on_single_utterance(backend):
    speech, lengths = noise(8123)
    wave = speech
    if backend.wants_normalized_waveforms():
        wave = torch.nn.functional.layer_norm(wave, wave.shape[-1:], eps=1e-5)
    with torch.no_grad():
        hidden, frames = run(backend, speech, lengths)
        bare = transformers.AutoModel.from_pretrained(backend._name).eval()
        expected = bare(wave, output_hidden_states=True)
    assert frames.tolist() == [(8123 - 400) // 320 + 1]
    assert hidden.shape == (1, backend.num_layers, int(frames[0]), backend.dim)
    for layer, state in enumerate(expected.hidden_states[:-1]):
        torch.testing.assert_close(hidden[:, layer], state, rtol=1e-4, atol=1e-5)
    last = hidden[:, -1]
    if backend.model.config.do_stable_layer_norm:  # ours is before the final norm
        last = backend.model.encoder.layer_norm(last)
        assert (last - hidden[:, -1]).abs().max() > 1e-2
    torch.testing.assert_close(last, expected.last_hidden_state, rtol=1e-4, atol=1e-5)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    lengths=st.lists(st.integers(1, 6000), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    garbage=st.sampled_from([0.0, 7.0, float("nan")]),
)
def test_same_alone_and_in_any_batch(backend, lengths, seed, garbage):
    speech, sample_lengths = noise(*lengths, seed=seed, garbage=garbage)
    frames = check_alone_and_batched(backend, speech, sample_lengths, tolerance=1e-5)
    assert frames == [max((length - 400) // 320 + 1, 1) for length in lengths]


def test_waveform_normalisation_uses_own_samples(tmp_path):
    path = str(tiny_hubert_dir(tmp_path))
    plain = FrozenSpeechEncoder(HuggingFaceBackend(model=path), normalize_waveform=False)
    normalizing = FrozenSpeechEncoder(HuggingFaceBackend(model=path), normalize_waveform=True)
    speech, lengths = noise(3000, 1700)
    by_hand = torch.zeros_like(speech)
    for row, length in enumerate(lengths.tolist()):
        wave = speech[row, :length]
        variance = ((wave - wave.mean()) ** 2).mean()
        by_hand[row, :length] = (wave - wave.mean()) / (variance + 1e-5).sqrt()
    with torch.no_grad():
        expected = plain(by_hand, lengths).hidden_states
        actual = normalizing(speech, lengths).hidden_states
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("do_normalize", [True, False])
def test_normalize_waveform_comes_from_preprocessor_config(tmp_path, do_normalize):
    path = tiny_hubert_dir(tmp_path, do_normalize=do_normalize)
    assert HuggingFaceBackend(model=str(path)).wants_normalized_waveforms() is do_normalize


def test_without_preprocessor_config_large_layouts_normalise(tmp_path):
    for stable in (True, False):
        path = tiny_hubert_dir(tmp_path, stable=stable)
        (path / "preprocessor_config.json").unlink()
        assert HuggingFaceBackend(model=str(path)).wants_normalized_waveforms() is stable


@pytest.fixture(scope="module", params=LAYOUTS, ids=lambda layout: f"{layout[0]}-{layout[1]}")
def dropping(request, tmp_path_factory):
    """Function of dropout probabilities to a backend whose model was trained with layer drop."""
    model_class, stable = request.param
    path = tiny_hubert_dir(
        tmp_path_factory.mktemp("dropping"), stable=stable, model_class=model_class
    )

    def build(*, dropout=None, **probabilities):
        config = json.loads((path / "config.json").read_text())
        masking = {"apply_spec_augment": True, "mask_time_prob": 0.9, "mask_time_length": 2}
        config |= {"layerdrop": 0.9, **masking, **probabilities}
        (path / "config.json").write_text(json.dumps(config))
        return HuggingFaceBackend(model=str(path), dropout=dropout).requires_grad_(False)

    return build


PROBABILITIES = {
    "feat_proj_dropout": 0.1,
    "hidden_dropout": 0.2,
    "attention_dropout": 0.3,
    "activation_dropout": 0.4,
}


@torch.no_grad()
def test_training_mode_is_the_dropouts_alone(dropping):
    speech, lengths = noise(6000, 3000)
    backend = dropping(**dict.fromkeys(PROBABILITIES, 0.0))
    expected = run(backend.eval(), speech, lengths)[0]
    assert torch.equal(run(backend.train(), speech, lengths)[0], expected)
    backend = dropping(**PROBABILITIES)
    assert torch.equal(run(backend.eval(), speech, lengths)[0], expected)
    first, second = (run(backend.train(), speech, lengths)[0] for _ in range(2))
    assert first.shape == expected.shape
    for layer in range(backend.num_layers):  # the projection's dropout acts before all of them
        assert not torch.equal(first[:, layer], second[:, layer])
    assert first[1, :, int(backend.frame_lengths(lengths)[1]) :].abs().sum() == 0
    assert torch.equal(run(backend.eval(), speech, lengths)[0], expected)


@pytest.mark.parametrize(
    ("dropout", "expected"), [(None, [0.1, 0.2, 0.3, 0.4]), (0.25, [0.25, 0.25, 0.25, 0.0])]
)
def test_dropouts_are_the_configurations_or_given(dropping, dropout, expected):
    model = dropping(dropout=dropout, **PROBABILITIES).model
    layer = model.encoder.layers[0]
    actual = [
        model.feature_projection.dropout.p,
        layer.feed_forward.output_dropout.p,
        layer.attention.dropout,
        layer.feed_forward.intermediate_dropout.p,
    ]
    assert actual == expected
    assert model.encoder.dropout.p == layer.dropout.p == expected[1]


def test_short_utterance_is_continued_with_zeros(backend):
    speech, lengths = noise(123)
    longer = torch.nn.functional.pad(speech, (0, 277))
    with torch.no_grad():
        hidden, frames = run(backend, speech, lengths)
        expected, _ = run(backend, longer, torch.tensor([400]))
    assert frames.tolist() == [1]
    assert torch.equal(hidden, expected)


def test_gradients_reach_waveform_and_weights_when_asked(tmp_path):
    for stable in (True, False):
        backend = HuggingFaceBackend(model=str(tiny_hubert_dir(tmp_path, stable=stable)))
        speech, lengths = noise(3000, 1700)
        hidden, _ = run(backend, speech.requires_grad_(), lengths)
        with torch.no_grad():
            torch.testing.assert_close(hidden.detach(), run(backend, speech, lengths)[0])
        hidden.square().sum().backward()
        assert speech.grad[0].abs().sum() > 0
        assert speech.grad[1, 1700:].abs().sum() == 0
        first = backend.model.feature_extractor.conv_layers[0].conv.weight
        assert first.grad.abs().sum() > 0


def test_can_be_copied_after_use(backend):
    speech, lengths = noise(2000)
    with torch.no_grad():
        hidden, _ = run(backend, speech, lengths)
        again, _ = run(copy.deepcopy(backend), speech, lengths)
    assert torch.equal(hidden, again)


def test_random_weights_need_only_config(tmp_path):
    directory = tmp_path / "dry"
    transformers.HubertConfig(**tiny_encoder_options()).save_pretrained(directory)
    with pytest.raises(FileNotFoundError, match=r"random_weights.*dry run"):
        HuggingFaceBackend(model=str(directory))
    backend = HuggingFaceBackend(model=str(directory), random_weights=True)
    assert backend.num_layers == 3


def test_missing_directory_is_one_clear_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        HuggingFaceBackend(model=str(tmp_path / "nowhere"))


def test_offline_hub_name_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"some/hubert.*config\.json.*hf download"):
        HuggingFaceBackend(model="some/hubert", cache_dir=tmp_path)


def test_other_architectures_are_refused(tmp_path):
    transformers.BertConfig().save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match="'bert'"):
        HuggingFaceBackend(model=str(tmp_path / "bert"))
    config = transformers.HubertConfig(**tiny_encoder_options(), conv_pos_batch_norm=True)
    config.save_pretrained(tmp_path / "batch_norm")
    with pytest.raises(ValueError, match="conv_pos_batch_norm"):
        HuggingFaceBackend(model=str(tmp_path / "batch_norm"), random_weights=True)


def test_weights_of_another_model_are_refused(tmp_path):
    path = tiny_hubert_dir(tmp_path)
    config = json.loads((path / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="weights lack"):
        HuggingFaceBackend(model=str(path))


def test_half_precision_weights_are_run_in_float32(tmp_path):
    path = tiny_hubert_dir(tmp_path)
    transformers.HubertModel.from_pretrained(path).half().save_pretrained(path)
    backend = HuggingFaceBackend(model=str(path))
    assert {parameter.dtype for parameter in backend.parameters()} == {torch.float32}
