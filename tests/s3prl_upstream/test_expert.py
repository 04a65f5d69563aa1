from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import s3prl_upstream
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import load_speechclip, save_speechclip
from s3prl_upstream.expert import (
    TRAINED,
    SpeechEncoderExpert,
    UpstreamExpert,
    continue_with_last_frame,
    shortest_utterance,
)
from tests.local_hub import put_in_cache
from tests.s3prl_upstream.conftest import ARCHITECTURES
from tests.tiny import CLIP_DIM, HUBERT_DIM, HUBERT_LAYERS, tiny_hybrid_plus_config

LENGTHS = (1, 399, 400, 799, 800, 961, 1039, 1040, 1041, 1360, 5000)


def waves(*lengths: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


@pytest.fixture(scope="module")
def expert(model_dir: Path) -> UpstreamExpert:
    return UpstreamExpert(model_dir).eval()


@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_states_are_the_encoders_then_the_blocks(
    exported: Callable[..., Path], architecture: str, stable: bool
) -> None:
    path = exported(architecture, stable=stable)
    expert = UpstreamExpert(path).eval()
    wavs = waves(5000, 3210)
    states = expert(wavs)["hidden_states"]
    model = load_speechclip(path)
    speech = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    encoded = model.speech_encoder(speech, torch.tensor([5000, 3210]))
    with torch.no_grad():
        output = model(encoded)
    assert len(states) == HUBERT_LAYERS + 1 + 1
    for row, frames in enumerate([15, 9]):
        for layer in range(HUBERT_LAYERS + 1):
            expected = encoded.hidden_states[row, layer, :frames]
            torch.testing.assert_close(states[layer][row, :frames], expected, rtol=0, atol=0)
        expected = output.states[-1][row, :frames]
        torch.testing.assert_close(states[-1][row, :frames], expected, rtol=0, atol=0)
    assert states[-1].shape == (2, 16, HUBERT_DIM)  # 5000 / 320, rounded up


def test_the_encoder_alone_has_the_same_states_but_the_blocks(
    expert: UpstreamExpert, model_dir: Path
) -> None:
    wavs = waves(5000, 3210)
    alone = SpeechEncoderExpert(model_dir).eval()(wavs)
    *states, _ = expert(wavs)["hidden_states"]
    assert len(alone["hidden_states"]) == HUBERT_LAYERS + 1
    for ours, theirs in zip(alone["hidden_states"], states, strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(alone["last_hidden_state"], states[-1])


@pytest.mark.parametrize("stable", [False, True])
def test_encoder_states_equal_the_bare_encoders(
    exported: Callable[..., Path], stable: bool
) -> None:
    from transformers import HubertModel

    path = exported(stable=stable)
    (wav,) = waves(5000)
    bare = HubertModel.from_pretrained(path / "speech_encoder").eval()
    given = torch.nn.functional.layer_norm(wav, wav.shape) if stable else wav  # do_normalize
    with torch.no_grad():
        expected = bare(given[None], output_hidden_states=True).hidden_states
    states = UpstreamExpert(path).eval()([wav])["hidden_states"]
    for ours, theirs in zip(states, expected, strict=False):
        torch.testing.assert_close(ours[:, : theirs.size(1)], theirs, rtol=1e-5, atol=1e-5)


def test_batch_equals_single(expert: UpstreamExpert) -> None:
    wavs = waves(*LENGTHS)
    together = expert(wavs)
    for row, wav in enumerate(wavs):
        alone = expert([wav])
        frames = int(alone["frame_lengths"][0])
        assert (
            frames == int(together["frame_lengths"][row]) == (max(len(wav), 1040) - 400) // 320 + 1
        )
        for one, many in zip(alone["hidden_states"], together["hidden_states"], strict=True):
            counted = max(frames, -(-len(wav) // 320))
            torch.testing.assert_close(one[0], many[row, :counted], rtol=1e-5, atol=1e-5)
            assert (many[row, frames:counted] == many[row, frames - 1]).all()
            assert not many[row, counted:].any()


@pytest.mark.parametrize("grad", [False, True])
def test_copies_of_the_last_frame(grad: bool) -> None:
    states = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 0, 0, 0], [1, 2, 3, 0, 0.0]])[..., None]
    with torch.set_grad_enabled(grad):
        continued = continue_with_last_frame(
            states.clone(), torch.tensor([5, 2, 3]), torch.tensor([7, 4, 4])
        )
    expected = [[1, 2, 3, 4, 5, 5, 5], [1, 2, 2, 2, 0, 0, 0], [1, 2, 3, 3, 0, 0, 0]]
    assert continued[..., 0].tolist() == expected


def test_s3prl_nn_and_the_runner_see_the_same_alone_and_in_a_batch(expert: UpstreamExpert) -> None:
    """Their rules, written out: s3prl itself takes long to import."""
    wavs = waves(16000, 15999, 15690, 15600, 9280, 9281, 5000, 1040, 900)
    together = expert(wavs)["last_hidden_state"]
    for row, wav in enumerate(wavs):
        alone = expert([wav])["last_hidden_state"][0]
        # s3prl.nn counts
        frames = len(range(0, len(wav), 320))
        assert len(alone) == frames and together.size(1) == 50  # so it repeats nothing
        torch.testing.assert_close(together[row, :frames], alone, rtol=1e-5, atol=1e-5)
        # the runner rounds and cuts
        cut = together[row, : round(len(wav) / 320)]
        torch.testing.assert_close(cut, alone[: len(cut)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [*LENGTHS, 16000])
def test_frames_fit_both_featurizers_of_s3prl(expert: UpstreamExpert, samples: int) -> None:
    frames = expert(waves(samples))["hidden_states"][0].size(1)
    asked = max(samples, 800)  # s3prl.nn lengthens shorter ones itself
    expected = len(range(0, asked, 320))
    assert max(expected // frames, frames // expected) == 1
    assert abs(frames - round(samples / 320)) < 5
    assert frames >= round(samples / 320) - 1


@pytest.mark.parametrize(
    ("field", "stride", "expected"), [(400, 320, 1040), (880, 320, 1840), (1, 160, 1)]
)
def test_shortest_utterance_is_the_shortest_that_s3prl_nn_accepts(
    field: int, stride: int, expected: int
) -> None:
    def accepted(samples: int) -> bool:
        frames = (samples - field) // stride + 1
        return -(-samples // stride) // frames == 1

    assert shortest_utterance(field, stride) == expected
    assert all(accepted(samples) for samples in range(expected, expected + 5000))
    assert field == 1 or not all(accepted(n) for n in range(expected - stride, expected))


def test_is_the_same_each_time_in_evaluation_mode(expert: UpstreamExpert) -> None:
    first, second = expert(waves(3000)), expert(waves(3000))
    for one, other in zip(first["hidden_states"], second["hidden_states"], strict=True):
        assert torch.equal(one, other)


def test_number_of_states_is_constant_in_training_mode(model_dir: Path) -> None:
    expert = UpstreamExpert(model_dir, trainable=True).train()
    for seed in range(5):
        assert len(expert(waves(900, 20, seed=seed))["hidden_states"]) == HUBERT_LAYERS + 2


def test_is_frozen_by_default_and_deaf_to_train(expert: UpstreamExpert) -> None:
    before = expert.eval()(waves(3000))["hidden_states"]
    after = expert.train()(waves(3000))["hidden_states"]
    assert not any(parameter.requires_grad for parameter in expert.parameters())
    assert not any(module.training for module in expert.model.modules())
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other) and not other.requires_grad


@pytest.mark.parametrize("lengths", [(800,), (800, 800), (800, 9000, 16000)])
def test_trainable_parameters_get_gradients(model_dir: Path, lengths: tuple[int, ...]) -> None:
    expert = UpstreamExpert(model_dir, trainable=True).train()
    with torch.autograd.set_detect_anomaly(True):
        sum(state.sum() for state in expert(waves(*lengths))["hidden_states"]).backward()
    trained = {name: p for name, p in expert.named_parameters() if p.requires_grad}
    unused = [name for name, p in trained.items() if p.grad is None]
    assert unused == []
    assert not expert.model.speech_encoder.training and expert.model.attention.training


def test_block_alone_can_be_trained(model_dir: Path) -> None:
    expert = UpstreamExpert(model_dir, trainable="block", outputs=["parallel"])
    trained = {name.split(".")[1] for name, p in expert.named_parameters() if p.requires_grad}
    assert trained == {"layer_weighting", "attention", "parallel_query", "parallel_projection"}


def test_gradients_reach_what_chooses_the_keywords(model_dir: Path) -> None:
    expert = UpstreamExpert(model_dir, trainable="block", outputs=["cascaded"])
    still = expert.eval()(waves(6000))["cascaded_embedding"]
    moving = expert.train()(waves(6000))["cascaded_embedding"]
    assert not still.requires_grad
    moving.sum().backward()
    assert expert.model.keyword_branch.projection[0].weight.grad.abs().sum() > 0


def test_gradients_reach_the_waveform(expert: UpstreamExpert) -> None:
    (wav,) = waves(3000)
    wav.requires_grad_(True)
    expert([wav])["last_hidden_state"].square().sum().backward()
    assert wav.grad.abs().sum() > 0


def test_can_be_copied_and_restored(expert: UpstreamExpert, model_dir: Path) -> None:
    expected = expert(waves(3000))["last_hidden_state"]
    other = UpstreamExpert(model_dir)
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(expert.state_dict())
    for twin in (copy.deepcopy(expert), other.eval()):
        assert torch.equal(twin(waves(3000))["last_hidden_state"], expected)


def test_holds_no_tower_unless_needed(model_dir: Path) -> None:
    small, large = UpstreamExpert(model_dir), UpstreamExpert(model_dir, outputs=["cascaded"])
    assert not [key for key in small.state_dict() if "tower" in key]
    assert [key for key in large.state_dict() if "text_tower" in key]
    assert not [key for key in large.state_dict() if "image_tower" in key]


def test_does_not_reseed(model_dir: Path) -> None:
    drawn = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        UpstreamExpert(model_dir).eval()(waves(2000))
        drawn.append(torch.rand(3))
    assert not torch.equal(*drawn)


def test_utterance_outputs(model_dir: Path, tmp_path: Path) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("outputs: [parallel, cascaded, keywords]\n")
    expert = UpstreamExpert(model_dir, str(options)).eval()
    wavs = waves(9000, 4000)
    result = expert(wavs)
    speech = torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True)
    model = load_speechclip(model_dir)
    expected = model.encode_speech(speech, torch.tensor([9000, 4000]))
    torch.testing.assert_close(result["parallel_embedding"], expected.parallel)
    torch.testing.assert_close(result["cascaded_embedding"], expected.cascaded)
    assert result["parallel"].shape == (2, result["hidden_states"][0].size(1), CLIP_DIM)
    assert torch.equal(result["parallel"][:, 3], result["parallel_embedding"])
    ids = model.keyword_branch.vocabulary.ids
    for utterance, number in enumerate(expected.keywords.lengths.tolist()):
        rows = expected.keywords.quantized.rows[utterance, :number].tolist()
        assert result["keywords"][utterance] == tuple(
            model.clip.token_text(ids[row]).removesuffix("</w>") for row in rows
        )


@pytest.fixture(scope="module")
def with_blanks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose segments are mostly blank, or the same sub-word as the one before."""
    directory = tmp_path_factory.mktemp("blanks")
    torch.manual_seed(7)
    config = tiny_hybrid_plus_config(directory)
    config["model_conf"] = {"parallel": True, "blank": True}
    config["quantizer_conf"] = {"hard": False, "temperature": [0.1, 0.02, 100]}
    config["keyword_vocabulary"] = {"ids": [320, 736, 1929, 5463]}  # a, red, dog, arena
    model = build_speechclip(config).eval()
    torch.nn.init.normal_(model.keyword_branch.blank.weight, std=0.2)
    torch.nn.init.zeros_(model.keyword_branch.blank.bias)
    save_speechclip(model, config, directory / "model")
    return directory / "model"


def test_training_lists_the_keywords_of_evaluation(with_blanks: Path) -> None:
    expert = UpstreamExpert(with_blanks, trainable="block", outputs=["cascaded", "keywords"])
    wavs = waves(9000, 16000)
    still, moving = expert.eval()(wavs), expert.train()(wavs)
    lengths = still["keyword_lengths"]
    assert moving["keywords"] == still["keywords"] and all(still["keywords"])
    assert {word for words in still["keywords"] for word in words} <= {"a", "red", "dog", "arena"}
    assert moving["keyword_lengths"].tolist() == lengths.tolist()
    # the mean mixture of each run of segments that are likelier said than blank, by a plain loop
    segments = expert.model(expert._encode(wavs), step=TRAINED)
    mixtures = segments.keywords.quantized.probabilities @ expert.model.keyword_branch.table
    rows, said = segments.keywords.quantized.rows, segments.keywords.reading.said
    for utterance, number in enumerate(lengths.tolist()):
        assert 2 < number < segments.keywords.lengths[utterance]
        segment = range(int(segments.keywords.lengths[utterance]))
        chosen = [int(rows[utterance, n]) if said[utterance, n] >= 0.5 else None for n in segment]
        runs = [(row, list(run)) for row, run in groupby(segment, key=chosen.__getitem__)]
        expected = [mixtures[utterance, run].mean(dim=0) for row, run in runs if row is not None]
        ours = moving["keyword_embeddings"][utterance, :number]
        torch.testing.assert_close(ours, torch.stack(expected), rtol=0, atol=1e-5)
    moving["keyword_embeddings"].sum().backward(retain_graph=True)
    assert expert.model.keyword_branch.projection[0].weight.grad.abs().sum() > 0
    moving["cascaded_embedding"].sum().backward()
    assert expert.model.keyword_branch.blank.weight.grad.abs().sum() > 0


def test_takes_the_weights_of_a_model_as_espnet_packs_them(model_dir: Path, tmp_path: Path) -> None:
    model = shutil.copytree(model_dir, tmp_path / "model")
    expected = UpstreamExpert(model_dir).eval()(waves(3000))["last_hidden_state"]
    found = UpstreamExpert(model / "model.safetensors").eval()(waves(3000))["last_hidden_state"]
    assert torch.equal(found, expected)


def test_takes_a_name_on_the_hub(
    model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's cache as the library lays it out, without a network."""
    put_in_cache(model_dir, "owner/model", tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert UpstreamExpert("owner/model").get_downsample_rates("hidden_states") == 320


@pytest.mark.parametrize(
    ("wavs", "error", "message"),
    [
        ([], ValueError, "empty list"),
        (torch.zeros(2, 4000), TypeError, "a list of utterances"),
        ([torch.zeros(4000), torch.zeros(0)], ValueError, "utterance 1 has no samples"),
        (["a.wav"], TypeError, "utterance 0: .*str"),
        ([np.zeros(4000, np.int64)], TypeError, "utterance 0: samples are torch.int64"),
        ([torch.zeros(1, 4000)], ValueError, "mono"),
        ([torch.zeros(4000), torch.full((900,), torch.nan)], ValueError, "utterance 1 .* NaN"),
    ],
)
def test_refuses_what_is_no_speech(
    expert: UpstreamExpert, wavs: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        expert(wavs)


def test_float_arrays_and_double_precision_are_taken(expert: UpstreamExpert) -> None:
    (wav,) = waves(3000)
    expected = expert([wav])["last_hidden_state"]
    assert torch.equal(expert([wav.double()])["last_hidden_state"], expected)
    assert torch.equal(expert([wav.numpy()])["last_hidden_state"], expected)
    integers = (wav * 32768).short()
    expected = expert([integers.float() / 32768])["last_hidden_state"]
    assert torch.equal(expert([integers])["last_hidden_state"], expected)


def test_wrong_models_and_options(model_dir: Path, tmp_path: Path) -> None:
    for name in ("speechclip_plus", "speechclip_plus_encoder"):
        with pytest.raises(ValueError, match=f"^{name} needs a model .*exported model"):
            getattr(s3prl_upstream, name)()
    with pytest.raises(FileNotFoundError, match="gone.*expected an exported model"):
        UpstreamExpert(tmp_path / "gone")
    with pytest.raises(TypeError, match="layer_drop"):
        UpstreamExpert(model_dir, layer_drop=0.1)
    with pytest.raises(ValueError, match="trainable must be"):
        UpstreamExpert(model_dir, trainable="all")
    with pytest.raises(ValueError, match="trainable must be"):
        UpstreamExpert(model_dir, trainable=1)  # is equal to True
    with pytest.raises(ValueError, match="block would train nothing.* use true for the encoder"):
        SpeechEncoderExpert(model_dir, trainable="block")
    assert SpeechEncoderExpert(model_dir, trainable=True).trainable is True
    with pytest.raises(ValueError, match="'text' is unknown; choose from parallel"):
        UpstreamExpert(model_dir, outputs=["text"])
    with pytest.raises(FileNotFoundError, match="trainable and outputs"):
        UpstreamExpert(model_dir, tmp_path / "gone.yaml")


def test_outputs_that_an_architecture_lacks(exported: Callable[..., Path]) -> None:
    with pytest.raises(ValueError, match="no keywords"):
        UpstreamExpert(exported("parallel"), outputs=["keywords"])
    with pytest.raises(ValueError, match="no parallel branch"):
        UpstreamExpert(exported("cascaded"), outputs=["parallel"])
