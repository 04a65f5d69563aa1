"""The frozen encoder's promises, and the weighting against a slow loop."""

from __future__ import annotations

import pytest
import torch

from espnet_plugin.model.factory import build_speech_encoder
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_batch import SpeechBatch, waveform_batch
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder, to_half
from espnet_plugin.utils.samples import float_samples
from tests.tiny import HUBERT_DIM, HUBERT_LAYERS, tiny_hubert_dir


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    path = tiny_hubert_dir(tmp_path_factory.mktemp("models"))
    return FrozenSpeechEncoder(HuggingFaceBackend(model=str(path)))


def test_sizes(encoder):
    assert encoder.num_layers == HUBERT_LAYERS + 1
    assert encoder.dim == HUBERT_DIM
    assert encoder.stride == 320
    assert encoder.sampling_rate == 16000
    assert encoder.min_samples == 400
    assert encoder.normalize_waveform is False
    lengths = encoder.frame_lengths(torch.tensor([1, 400, 720, 16000]))
    assert lengths.tolist() == [1, 1, 2, 49]


def test_the_originals_frame_lengths_count_a_padded_frame(tmp_path):
    path = str(tiny_hubert_dir(tmp_path))
    speech, lengths = torch.randn(2, 3200), torch.tensor([3200, 1600])
    exact = FrozenSpeechEncoder(HuggingFaceBackend(model=path))
    rounded = FrozenSpeechEncoder(HuggingFaceBackend(model=path), frame_length_rule="rounded")
    assert exact(speech, lengths).lengths.tolist() == [9, 4]
    assert rounded(speech, lengths).lengths.tolist() == [9, 5]
    assert rounded(speech[1:, :1600], lengths[1:]).lengths.tolist() == [4]
    with pytest.raises(ValueError, match="exact, rounded"):
        FrozenSpeechEncoder(HuggingFaceBackend(model=path), frame_length_rule="ceil")


def test_frozen_means_frozen(encoder):
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    speech = torch.randn(2, 2000, requires_grad=True)
    states = encoder(speech, torch.tensor([2000, 1500]))
    assert not states.hidden_states.requires_grad
    again = encoder(speech, torch.tensor([2000, 1500]))
    assert torch.equal(states.hidden_states, again.hidden_states)


def test_dropouts_act_in_training_mode_only_and_only_when_asked(tmp_path):
    path = str(tiny_hubert_dir(tmp_path))
    encoder = FrozenSpeechEncoder(
        HuggingFaceBackend(model=path, dropout=0.2), dropout_in_training=True
    )
    outer = torch.nn.Sequential(encoder)
    speech, lengths = torch.randn(2, 2000), torch.tensor([2000, 1500])
    expected = FrozenSpeechEncoder(HuggingFaceBackend(model=path))(speech, lengths).hidden_states
    assert torch.equal(encoder(speech, lengths).hidden_states, expected)
    outer.train()
    first, second = (encoder(speech, lengths).hidden_states for _ in range(2))
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    outer.eval()
    assert torch.equal(encoder(speech, lengths).hidden_states, expected)


def test_dropout_without_its_switch_is_refused():
    conf = {"model": "hubert", "dropout": 0.1}
    with pytest.raises(ValueError, match="dropout needs dropout_in_training or train_layers"):
        build_speech_encoder({"speech_encoder_conf": conf})
    conf["dropout_in_training"] = True
    with pytest.raises(ValueError, match=r"speech_encoder_conf \(s3prl\) has .* dropout;"):
        build_speech_encoder({"speech_encoder": "s3prl", "speech_encoder_conf": conf})


def test_normalised_waveforms_are_not_normalised_again(tmp_path):
    path = str(tiny_hubert_dir(tmp_path, stable=True))  # base models undo any scale
    encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=path), normalize_waveform=True)
    plain = FrozenSpeechEncoder(HuggingFaceBackend(model=path), normalize_waveform=False)
    speech, lengths = 0.1 * torch.randn(2, 2000) + 0.2, torch.tensor([2000, 1500])
    expected = plain(speech, lengths).hidden_states
    assert torch.equal(encoder(speech, lengths, normalized=True).hidden_states, expected)
    assert not torch.allclose(encoder(speech, lengths).hidden_states, expected, atol=1e-3)


def test_outer_train_does_not_reach_it(encoder):
    outer = torch.nn.Sequential(encoder, torch.nn.Linear(2, 2))
    outer.train()
    assert outer[1].training
    assert not any(module.training for module in encoder.modules())


@pytest.mark.parametrize(
    ("speech", "lengths", "error", "message"),
    [
        (torch.zeros(1, 500, dtype=torch.int64), [500], TypeError, "int64"),
        (torch.zeros(500), [500], ValueError, r"\(batch, samples\)"),
        (torch.zeros(2, 500), [500], ValueError, "speech_lengths"),
        (torch.zeros(2, 500), [500, 0], ValueError, "no samples"),
        (torch.zeros(1, 500), [501], ValueError, "501"),
        (torch.zeros(0, 500), [], ValueError, "empty batch"),
    ],
)
def test_bad_input(encoder, speech, lengths, error, message):
    with pytest.raises(error, match=message):
        encoder(speech, torch.tensor(lengths, dtype=torch.long))


def test_integers_are_divided_by_their_range(encoder):
    assert float_samples(torch.tensor([-32768, 16384]).short()).tolist() == [-1.0, 0.5]
    assert float_samples(torch.tensor([-(2**31), 2**30]).int()).tolist() == [-1.0, 0.5]
    assert float_samples(torch.tensor([-128, 64], dtype=torch.int8)).tolist() == [-1.0, 0.5]
    assert float_samples(torch.tensor([0, 128, 192], dtype=torch.uint8)).tolist() == [-1, 0, 0.5]
    with pytest.raises(TypeError, match="torch.bool"):
        float_samples(torch.tensor([True]))
    speech = (3000 * torch.randn(1, 2000)).short()
    expected = encoder(speech.float() / 32768, torch.tensor([2000])).hidden_states
    assert torch.equal(encoder.hidden_states(waveform_batch(speech)).hidden_states, expected)


def test_unknown_source_and_foreign_option():
    def build(source: str, **conf: object) -> None:
        build_speech_encoder({"speech_encoder": source, "speech_encoder_conf": conf})

    with pytest.raises(ValueError, match="huggingface, whisper, w2v_bert, s3prl"):
        build("fairseq", model="hubert")
    with pytest.raises(ValueError, match="checkpoint"):
        build("huggingface", model="hubert", checkpoint="file.pt")
    with pytest.raises(ValueError, match="cache_dir"):
        build("s3prl", model="hubert", cache_dir="cache")


class Constant(torch.nn.Module):
    """A user's backend."""

    num_layers, dim, stride, sampling_rate, min_samples = 2, 3, 100, 16000, 100

    def __init__(self, *, model: str, value: float = 1.0) -> None:
        super().__init__()
        self.value = value

    def wants_normalized_waveforms(self):
        return False

    def frame_lengths(self, sample_lengths):
        return sample_lengths // 100

    def forward(self, speech, sample_lengths, ends):
        return torch.full((len(speech), 2, max(ends) // 100, 3), self.value)


def test_a_backend_of_ones_own():
    conf = {"model": "any", "value": 0.0, "checkpoint": None}  # null: another backend's, not given
    source = f"{__name__}:Constant"
    encoder = build_speech_encoder({"speech_encoder": source, "speech_encoder_conf": conf})
    states = encoder(torch.zeros(1, 500), torch.tensor([500])).hidden_states
    assert torch.equal(states, torch.zeros(1, 2, 5, 3))


@pytest.mark.parametrize("normalize", [False, True])
def test_weighting_against_loop(normalize):
    torch.manual_seed(0)
    hidden = torch.randn(2, 3, 5, 4)
    hidden[1, :, 3:] = 0.0
    weighting = LayerWeighting(3, normalize=normalize)
    with torch.no_grad():
        weighting.weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
    weights = torch.exp(weighting.weights) / torch.exp(weighting.weights).sum()
    expected = torch.zeros(2, 5, 4)
    for row in range(2):
        for frame in range(5):
            for layer in range(3):
                vector = hidden[row, layer, frame]
                if normalize:
                    spread = (vector.var(unbiased=False) + 1e-5).sqrt()
                    vector = (vector - vector.mean()) / spread
                expected[row, frame] += weights[layer].detach() * vector
    features = weighting(hidden)
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    assert features[1, 3:].abs().sum() == 0
    features.square().sum().backward()
    assert weighting.weights.grad.abs().sum() > 0


def test_weighting_starts_equal_and_sums_in_float32():
    hidden = torch.tensor([1.0, 3.0], dtype=torch.float16).view(1, 2, 1, 1)
    features = LayerWeighting(2)(hidden)
    assert features.dtype == torch.float32
    assert features.item() == 2.0


@pytest.mark.parametrize("normalize", [False, True])
def test_weighting_keeps_stored_states_as_they_are_for_the_backward_pass(normalize):
    torch.manual_seed(0)
    stored = torch.randn(2, 3, 5, 4).half()
    weighting = LayerWeighting(3, normalize=normalize)
    kept = []

    def gradient(hidden):
        kept.clear()
        weighting.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
            loss = weighting(hidden).square().sum()
        loss.backward()
        return weighting.weights.grad

    expected = gradient(stored.float())
    assert any(tensor.dtype == torch.float32 for tensor in kept if tensor.dim() > 2)
    assert torch.equal(gradient(stored), expected)
    # beside the sum, which square() keeps
    assert all(tensor.numel() <= 2 * 5 * 4 for tensor in kept if tensor.dtype == torch.float32)


def test_only_a_batch_in_parts_waits_in_half_precision(encoder, monkeypatch):
    speech, lengths = torch.randn(2, 2000), torch.tensor([1200, 2000])
    batch = SpeechBatch(lengths, speech)
    (whole,), order = encoder.in_parts(batch)
    assert order is None and whole.hidden_states.dtype == torch.float32
    monkeypatch.setattr("espnet_plugin.teachers.speech_encoder.PART_VALUES", HUBERT_DIM)
    (first, second), order = encoder.in_parts(batch)
    assert order.tolist() == [1, 0]
    assert first.hidden_states.dtype == second.hidden_states.dtype == torch.float16
    expected = whole.hidden_states[1:], whole.hidden_states[:1, :, :3]
    for part, states in zip((first, second), expected, strict=True):
        torch.testing.assert_close(part.hidden_states.float(), states, rtol=1e-3, atol=1e-3)


def test_codes_of_two_frames_in_parts_keep_both_rows_of_their_dimensions(encoder, monkeypatch):
    """The dimensions, mean and deviation, are (batch, 2, ...) like two frames."""
    batch = SpeechBatch(
        lengths=torch.tensor([2, 1]),
        states=torch.tensor([[1, 2], [3, 0]], dtype=torch.int8).view(2, 2, 1, 1),
        scale=torch.ones(2, 2, 1),
        dimensions=torch.tensor([[0.5, 10.0], [0.25, 4.0]]).view(2, 2, 1, 1),
    )
    monkeypatch.setattr("espnet_plugin.teachers.speech_encoder.PART_VALUES", 2)
    (first, second), order = encoder.in_parts(batch)
    assert order.tolist() == [0, 1]
    assert first.hidden_states.flatten().tolist() == [10.5, 20.5]
    assert second.hidden_states.flatten().tolist() == [12.25]


def test_half_precision_ends_where_its_numbers_do():
    half = to_half(torch.tensor([1.0, 1e5, -1e5, torch.nan]))
    assert half.dtype == torch.float16
    assert half[:3].tolist() == [1.0, 65504.0, -65504.0] and half[3].isnan()


def test_weighting_refuses_another_number_of_states():
    with pytest.raises(ValueError, match="another speech encoder"):
        LayerWeighting(3)(torch.zeros(1, 2, 4, 5))
