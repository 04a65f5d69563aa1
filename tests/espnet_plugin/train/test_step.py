"""A whole training step of each architecture, as a GPU would see it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.teachers.quantized_states import quantize_states, state_dimensions
from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from tests.host import FakeGPU, Looks
from tests.tiny import HUBERT_DIM

ARCHITECTURES = {
    "parallel": ("--keyword_extractor", "none", "--attention", "transformer"),
    "cascaded": ("--keyword_extractor", "cls", "--model_conf", "parallel=false"),
    "cascaded+": ("--keyword_extractor", "cif", "--model_conf", "parallel=false"),
    "hybrid": ("--keyword_extractor", "cls"),
    "hybrid+": ("--keyword_extractor", "cif", "--model_conf", "diversity_weight=0.1"),
    "hybrid+ annealed": (
        *("--keyword_extractor", "cif"),
        *("--quantizer_conf", "{hard: false, temperature: [0.5, 0.1, 10]}"),
        *("--model_conf", "{blank: true, align_spans: true}"),
        *("--model_conf", "{bank_weight: 0.5, bank_temperature: 0.05}"),
        *("--model_conf", "naming_weight=1.0"),
        *("--attention_conf", "{feed_forward_dim: 32, feed_forward_width: 9}"),
    ),
}
OPTIONS = {
    "parallel": {"attention_conf": {"num_heads": 2, "feed_forward_dim": 32}},
    "cif": {"frames_per_keyword": 4, "dropout": 0.1},
    "cls": {"num_keywords": 3},
}
CAN_PRETEND = torch.cuda.is_available() or hasattr(torch._C, "_ensureCUDADeviceGuardSet")
NO_DRIVER = "this torch asks the driver of a GPU even for tensors without values"
TYPES = (torch.bfloat16, torch.float16)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tiny_corpus) -> ESPnetSpeechCLIPModel:
    """An architecture with tiny frozen models, in training mode."""
    chosen = ARCHITECTURES[request.param]
    extractor = chosen[1]
    heads = "feed_forward_dim: 32" if request.param == "parallel" else "dropout: 0.1"
    args = SpeechCLIPTask.get_parser().parse_args(
        [
            *("--speech_encoder_conf", f"model={tiny_corpus.speech_encoder}"),
            *("--clip_conf", f"model={tiny_corpus.clip_model}"),
            *("--clip_conf", f"pretrained={tiny_corpus.clip_weights}"),
            *("--keyword_vocabulary", str(tiny_corpus.vocabulary)),
            *("--keyword_extractor_conf", str(OPTIONS.get(extractor, {}))),
            *("--attention_conf", f"{{num_heads: 2, {heads}}}"),
            *chosen,
        ]
    )
    torch.manual_seed(0)
    model = SpeechCLIPTask.build_model(args).train()
    if model.image_bank is not None:
        model.image_bank.fill(torch.arange(5), torch.randn(5, 32))
        model.prepare_naming()
    return model


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Three utterances of different lengths, with stored image embeddings."""
    generator = torch.Generator().manual_seed(1)
    lengths = [6400, 4000, 5000]
    return {
        "speech": SpeechBatch(
            torch.tensor(lengths), torch.randn(3, max(lengths), generator=generator)
        ),
        "image": torch.randn(3, 32, generator=generator),
        "image_id": torch.tensor([[3], [1], [2]]),
        "text": torch.ones(3, 4, dtype=torch.long),
        "text_lengths": torch.tensor([4, 3, 2]),
    }


@contextmanager
def autocast(device: str, dtype: torch.dtype) -> Iterator[None]:
    """``torch.autocast``, which does nothing for a GPU that is not there."""
    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, True)
    torch.set_autocast_dtype(device, dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])
        torch.clear_autocast_cache()


def optimizer_of(model: ESPnetSpeechCLIPModel) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    optimizer.register_step_post_hook(lambda *_: model.end_update())
    return optimizer


@pytest.fixture
def in_parts(monkeypatch) -> None:
    """Every batch is large: 19, 15 and 12 frames make two parts."""
    monkeypatch.setattr("espnet_plugin.teachers.speech_encoder.PART_VALUES", 32 * HUBERT_DIM)


def in_eight_bits(model: ESPnetSpeechCLIPModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same batch, its speech as hidden states in eight bits."""
    states = model.speechclip.speech_encoder.hidden_states(batch["speech"])
    frames = states.hidden_states.transpose(1, 2)  # (batch, frames, layers + 1, dim)
    dimensions = state_dimensions(frames.flatten(0, 1))
    quantized = [quantize_states(utterance, dimensions) for utterance in frames]
    speech = SpeechBatch(
        states.lengths,
        states=torch.stack([utterance.codes for utterance in quantized]),
        scale=torch.stack([utterance.scale for utterance in quantized]),
        dimensions=dimensions.expand(len(frames), *dimensions.shape),
    )
    return {**batch, "speech": speech}


@pytest.mark.parametrize("from_states", [False, True])
def test_the_host_waits_at_most_twice(model, batch, in_parts, from_states) -> None:
    model = copy.deepcopy(model)
    optimizer = optimizer_of(model)
    if from_states:
        batch = in_eight_bits(model, batch)
    with Looks() as looks:
        loss = model(**batch)[0]
        loss.backward()
    # the lengths of the recordings, and the largest number of keywords where that varies
    branch = model.speechclip.keyword_branch
    varies = branch is not None and branch.extractor.num_slots is None
    assert looks.names == ["tolist"] + ["aten._local_scalar_dense"] * varies
    optimizer.step()
    with Looks() as looks:
        model.end_update()
    assert not looks.names
    assert model.updates_done == int(model.num_updates) == 2


@pytest.mark.skipif(not CAN_PRETEND, reason=NO_DRIVER)
@pytest.mark.parametrize("dtype", TYPES)
def test_devices_and_types_fit_on_a_gpu(model, batch, dtype, in_parts) -> None:
    gpu = FakeGPU(answers=[*batch["speech"].lengths.tolist(), 4])
    model = gpu.move(copy.deepcopy(model))
    speech = batch.pop("speech")
    batch = {name: gpu.tensor(value) for name, value in batch.items()}
    batch["speech"] = SpeechBatch(gpu.tensor(speech.lengths), gpu.tensor(speech.waveforms))
    with torch.no_grad(), gpu, autocast("cuda", dtype):
        loss, stats, weight = model(**batch)
        model.end_update()
    assert {v.device.type for v in (loss, weight, *stats.values())} == {"cuda"}
    assert loss.dtype == torch.float32
    assert gpu.made_on_host == []


@pytest.mark.parametrize("dtype", TYPES)
def test_a_step_in_mixed_precision(model, batch, dtype) -> None:
    model = copy.deepcopy(model)
    optimizer = optimizer_of(model)
    with autocast("cpu", dtype):
        loss = model(**batch)[0]
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert all(g is not None and g.dtype == torch.float32 for g in gradients)
    assert all(g.isfinite().all() for g in gradients)
    optimizer.step()
    reference = copy.deepcopy(model)
    assert reference(**batch)[0].isfinite()


@pytest.mark.parametrize("stored", [False, True])
def test_a_batch_in_parts_gives_the_same(model, batch, stored, in_parts, monkeypatch) -> None:
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, torch.nn.MultiheadAttention):
            module.dropout = 0.0
    if stored:
        states = model.speechclip.speech_encoder.hidden_states(batch["speech"])
        batch["speech"] = SpeechBatch(states.lengths, states=states.hidden_states.transpose(1, 2))

    def step() -> tuple[dict[str, Tensor], Tensor]:
        model.zero_grad()
        loss, stats, _ = model(**batch)
        loss.backward()
        gradients = [p.grad.flatten() for p in model.parameters() if p.requires_grad]
        return stats, torch.cat(gradients)

    stats, gradient = step()
    monkeypatch.setattr("espnet_plugin.teachers.speech_encoder.PART_VALUES", 10**6)
    whole_stats, whole_gradient = step()
    torch.testing.assert_close(stats, whole_stats, rtol=3e-4, atol=1e-5)
    # All of it at once: that of a bias before a batch norm is nothing but rounding.
    assert (gradient - whole_gradient).norm() <= 1e-3 * whole_gradient.norm()


def test_a_look_is_seen() -> None:
    values = torch.tensor([1.0, 0.0, 2.0])
    with Looks() as looks:
        int(values[0])
        values[values > 0]
        values.tolist()
        values[torch.tensor([0, 1])]
    assert looks.names == ["aten._local_scalar_dense", "aten.index", "tolist"]


@pytest.mark.skipif(not CAN_PRETEND, reason=NO_DRIVER)
def test_what_does_not_belong_on_a_gpu_is_seen() -> None:
    gpu = FakeGPU()
    values = gpu.tensor(torch.ones(3))
    with gpu:
        torch.zeros(3)
        (made,) = gpu.made_on_host
        assert made.startswith("aten.zeros.default in ") and "test_step.py" in made
        with pytest.raises(RuntimeError, match="two different devices|two devices"):
            values + torch.zeros(3)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            values.sum().item()
