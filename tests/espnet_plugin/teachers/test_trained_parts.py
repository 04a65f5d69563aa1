"""Which parts of a speech encoder are trained, and that they alone change."""

from __future__ import annotations

import copy

import pytest
import torch

from espnet_plugin.model.factory import build_speech_encoder
from espnet_plugin.teachers.speech_batch import waveform_batch
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.teachers.trained_parts import trains_encoder
from tests.tiny import tiny_hubert_dir, tiny_w2v_bert_dir, tiny_whisper_dir

SPEECH = 0.1 * torch.randn(3, 9000, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([9000, 8000, 4000])
KINDS = {
    "hubert": ("huggingface", tiny_hubert_dir),
    "wavlm": ("huggingface", lambda path: tiny_hubert_dir(path, model_class="WavLMModel")),
    "whisper": ("whisper", tiny_whisper_dir),
    "w2v_bert": ("w2v_bert", tiny_w2v_bert_dir),
}


class Bare(torch.nn.Linear):
    """A backend that names no layers, like one of s3prl."""

    num_layers, dim, stride, sampling_rate, min_samples = 2, 3, 100, 16000, 100

    def __init__(self) -> None:
        super().__init__(1, 1)

    def wants_normalized_waveforms(self) -> bool:
        return False


@pytest.fixture(params=KINDS)
def build(request, tmp_path):
    """Function of options to an encoder of each kind."""
    word, write = KINDS[request.param]
    path = str(write(tmp_path))
    return lambda **options: build_speech_encoder(
        {"speech_encoder": word, "speech_encoder_conf": {"model": path, **options}}
    )


def after_a_step(encoder: FrozenSpeechEncoder) -> set[str]:
    """Names of the parameters that an update of the optimiser changes."""
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.1)
    encoder.train()
    for _ in range(2):  # LoRA's first matrix changes after the second, which starts at zero
        optimizer.zero_grad()
        encoder(SPEECH, LENGTHS).hidden_states.square().mean().backward()
        optimizer.step()
    after = encoder.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_the_last_layers_alone_are_trained(build) -> None:
    encoder = build(train_layers=1)
    expected = build()(SPEECH, LENGTHS).hidden_states
    torch.testing.assert_close(encoder(SPEECH, LENGTHS).hidden_states, expected)
    assert all(".layers.1." in name for name in encoder.trained_names)
    changed = after_a_step(encoder)
    # biases that softmax and the choice of position ignore may stay
    assert changed <= set(encoder.trained_names)
    assert len(changed) > 0.7 * len(encoder.trained_names)
    assert encoder.backend.layers[1].training and not encoder.backend.layers[0].training
    states = encoder.eval()(SPEECH, LENGTHS).hidden_states
    torch.testing.assert_close(states[:, :2], expected[:, :2])
    assert not torch.allclose(states[:, 2], expected[:, 2])


def test_loras_matrices_alone_are_trained(build) -> None:
    pytest.importorskip("peft")
    torch.manual_seed(0)
    encoder = build(lora={"r": 4, "lora_dropout": 0.1})
    expected = build()(SPEECH, LENGTHS).hidden_states
    states = encoder(SPEECH, LENGTHS).hidden_states
    torch.testing.assert_close(states, expected)  # the second matrix starts at zero
    assert len(encoder.trained_names) == 2 * 2 * 2  # layers, modules, matrices
    assert after_a_step(encoder) == set(encoder.trained_names)
    assert not torch.allclose(encoder.eval()(SPEECH, LENGTHS).hidden_states, expected)


def test_a_copy_trains_its_own_layers(build) -> None:
    encoder = build(train_layers=1)
    other = copy.deepcopy(encoder).train()
    assert other.backend.layers[1].training and not encoder.backend.layers[1].training


def test_no_gradients_where_none_are_wanted(build) -> None:
    encoder = build(train_layers=1)
    assert encoder(SPEECH, LENGTHS).hidden_states.requires_grad
    with torch.no_grad():
        assert not encoder(SPEECH, LENGTHS).hidden_states.requires_grad
    assert torch.is_grad_enabled()


def test_parts_of_a_batch_keep_gradients_in_float32(build, monkeypatch) -> None:
    encoder = build(train_layers=1)
    monkeypatch.setattr("espnet_plugin.teachers.speech_encoder.PART_VALUES", 24 * 30)
    parts, order = encoder.in_parts(waveform_batch(SPEECH, LENGTHS))
    assert len(parts) == 3 and order.tolist() == [0, 1, 2]
    whole = encoder(SPEECH, LENGTHS)
    for row, part in enumerate(parts):
        assert part.hidden_states.dtype == torch.float32 and part.hidden_states.requires_grad
        own = int(part.lengths)
        expected = whole.hidden_states[row, :, :own]
        torch.testing.assert_close(part.hidden_states[0, :, :own], expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_trained_is_said(tmp_path) -> None:
    conf = {"model": str(tiny_hubert_dir(tmp_path))}
    with pytest.raises(ValueError, match="train_layers: got 3, but .* has 2 in its"):
        build_speech_encoder({"speech_encoder_conf": {**conf, "train_layers": 3}})
    with pytest.raises(ValueError, match=r"speech_encoder_conf.lora .*rank.* known: r, lora_alpha"):
        build_speech_encoder({"speech_encoder_conf": {**conf, "lora": {"rank": 3}}})
    for options, message in (
        ({"lora": True}, r"lora: True holds no options; give {r: 8}"),
        ({"lora": {}}, r"lora: {} holds no options; give {r: 8}"),
        ({"train_layers": 1}, "got 1, but Bare has 0 in its"),
        ({"lora": {"r": 2}}, "Bare has no attribute lora_modules"),
    ):
        with pytest.raises(ValueError, match=message):
            FrozenSpeechEncoder(Bare(), **options)


def test_dropout_may_be_of_trained_layers(tmp_path) -> None:
    conf = {"model": str(tiny_hubert_dir(tmp_path)), "dropout": 0.4, "train_layers": 1}
    encoder = build_speech_encoder({"speech_encoder_conf": conf}).train()
    first, second = (encoder(SPEECH, LENGTHS).hidden_states for _ in range(2))
    assert torch.equal(first[:, :2], second[:, :2]) and not torch.equal(first[:, 2], second[:, 2])


def test_which_options_train() -> None:
    assert not trains_encoder(None) and not trains_encoder({"train_layers": 0, "lora": None})
    assert trains_encoder({"train_layers": 2}) and trains_encoder({"lora": {"r": 8}})
