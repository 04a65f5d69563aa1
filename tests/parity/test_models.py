"""All architectures compute what the reference computes: embeddings, keywords, losses, gradients,
training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from espnet2.schedulers.piecewise_linear_warmup_lr import PiecewiseLinearWarmupLR
from torch import Tensor

from espnet_plugin.model.output import SpeechOutput
from espnet_plugin.model.quantizer import perplexity, token_usage
from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from tests.parity.fixtures import (
    assert_close,
    assert_gradient_close,
    cases,
    slot_entropy,
    valid_slots,
)
from tests.parity.models import build, in_our_layout, trained_values, zero_gradients

SLOTS = {  # (batch, slots, ...)
    "keywords_before_bn": lambda output: output.keywords.projected,
    "keywords_after_bn": lambda output: output.keywords.embeddings,
    "token_rows": lambda output: output.keywords.quantized.rows,
    "soft_tokens": lambda output: output.keywords.quantized.embeddings,
    "cif_slots": lambda output: output.keywords.slots,
}
PERPLEXITIES = {
    "code_perplexity": lambda output: output.keywords.quantized.code_perplexity,
    "prob_perplexity": lambda output: perplexity(
        token_usage(output.keywords.quantized.similarities)
    ),
}
OUTPUTS = {
    "slot_lengths": lambda output: output.keywords.lengths,
    "alphas_used": lambda output: output.keywords.cif.alphas,
    "alpha_sum": lambda output: output.keywords.cif.alpha_sum,
    "parallel_embedding": lambda output: output.parallel,
    "cascaded_embedding": lambda output: output.cascaded,
}
LOSSES = {
    "loss": "loss",
    "p_cl_loss": "loss_parallel",
    "c_cl_loss": "loss_cascaded",
    "quantity_loss": "loss_quantity",
}


def model_cases(*, single: bool) -> Iterator[Any]:
    for parameter in cases("model"):
        case = parameter.values[1]
        if case is None or ("utterances" in case["outputs"]) == single:
            yield parameter


def compatibility(case: Mapping[str, Any]) -> ReferenceCompatibility:
    return ReferenceCompatibility.all() if case["mode"] == "compat" else ReferenceCompatibility()


def waves(case: Mapping[str, Any]) -> list[Tensor]:
    return [wave.float() / 32768 for wave in case["inputs"]["wavs_int16"]]


def batch_of(model: ESPnetSpeechCLIPModel, case: Mapping[str, Any]) -> dict[str, Any]:
    """A batch as ESPnet's trainer gives it, from the recorded hidden states."""
    inputs = case["inputs"]
    batch = {
        "speech": SpeechBatch(
            inputs["frame_lengths"],
            states=inputs["hidden_states"].permute(1, 2, 0, 3),  # (batch, frames, layers, dim)
        ),
        "image": inputs["images"],
        "image_id": inputs["ids"],
    }
    if inputs.get("text") is not None:
        ids = inputs["text"][:, 0]  # (batch, 77)
        ends = (ids == model.speechclip.clip.eot_id).int().argmax(dim=1)
        batch |= {"text": ids, "text_lengths": ends - 1}
    return batch


@pytest.mark.parametrize("content, case", model_cases(single=False))
def test_batch(content: dict[str, Any], case: dict[str, Any]) -> None:
    model = build(content, compatibility=compatibility(case))
    model.train(case["config"]["train"])
    model.updates_done = case["config"]["global_step"]
    batch, recorded = batch_of(model, case), case["outputs"]
    encoded = model.encode(**batch)
    compare(encoded.speech, recorded, case)
    assert_close(encoded.images, recorded["image_embedding"], case, "image embeddings")
    assert_close(model.loss.scale, recorded["contrastive_temperature"], case, "scale")
    if recorded.get("target_lengths") is not None:
        assert encoded.target_lengths.tolist() == recorded["target_lengths"].tolist()

    loss, stats, _ = model.objective(encoded)
    for theirs, ours in LOSSES.items():
        if recorded["losses"].get(theirs) is not None:
            torch.testing.assert_close(
                stats[ours].squeeze(), recorded["losses"][theirs], rtol=1e-4, atol=1e-6, msg=theirs
            )
    if case["grads"]:
        loss.backward()
        zero = zero_gradients(model.speechclip, encoded.speech.keywords)
        compare_gradients(model, content, case, zero)
    values = trained_values(model)
    after = in_our_layout(case.get("batchnorm_after") or {}, content["state_dict"])
    for name, value in after.items():
        assert_close(values[name], value, case, name)


def compare(output: SpeechOutput, recorded: Mapping[str, Any], case: Mapping[str, Any]) -> None:
    """Everything that the reference recorded of the speech side."""
    tolerance = {"rtol": case["rtol"], "atol": 2e-5}

    def check(name: str, ours: Tensor) -> None:
        if recorded[name].dtype == torch.long:
            assert ours.tolist() == recorded[name].tolist(), name
        else:
            assert_close(ours, recorded[name], tolerance, name)

    present = {name for name, value in recorded.items() if value is not None}
    for name in OUTPUTS.keys() & present:
        check(name, OUTPUTS[name](output))
    if output.keywords is None:
        return
    lengths = output.keywords.lengths
    padded = bool((lengths < output.keywords.slots.size(1)).any())
    alike = not padded or case["mode"] == "compat"  # the content of padded slots
    for name in SLOTS.keys() & present:
        if alike:
            check(name, SLOTS[name](output))
        else:
            ours = valid_slots(SLOTS[name](output), lengths)
            assert_close(ours, valid_slots(recorded[name], lengths), tolerance, name)
    if alike and "entropy_per_slot" in present:
        check("entropy_per_slot", slot_entropy(output.keywords.quantized.similarities))
    for name in PERPLEXITIES.keys() & present:
        # The reference counts padded slots, and miscounts the codes of a single keyword.
        if not padded and (name != "code_perplexity" or lengths.sum() > 1):
            check(name, PERPLEXITIES[name](output))


def compare_gradients(
    model: ESPnetSpeechCLIPModel,
    content: Mapping[str, Any],
    case: Mapping[str, Any],
    zero: Mapping[str, Tensor],
) -> None:
    values = trained_values(model)
    for name, recorded in in_our_layout(case["grads"], content["state_dict"]).items():
        gradient = values[name].grad
        ours = torch.zeros_like(recorded) if gradient is None else gradient.view_as(recorded)
        if name in zero:
            ours, recorded = ours[~zero[name]], recorded[~zero[name]]
        if recorded.numel():
            assert_gradient_close(ours, recorded, name)


@pytest.mark.parametrize("content, case", model_cases(single=True))
def test_lone_utterances_from_waves(content: dict[str, Any], case: dict[str, Any]) -> None:
    model = build(content, compatibility=ReferenceCompatibility()).eval().speechclip
    for wave, recorded in zip(waves(case), case["outputs"]["utterances"], strict=True):
        output = model.encode_speech(wave[None])
        assert int(output.lengths) == recorded["frames"]
        compare(output, recorded["outputs"], case)
        extracted = recorded["outputs"].get("s3prl_hidden_states")
        if extracted is not None:
            states = model.speech_encoder(wave[None], torch.tensor([len(wave)])).hidden_states[0]
            ours = torch.cat([states, *output.states])  # (layers + 2, frames, dim)
            assert_close(ours, extracted[:, 0], {"rtol": 1e-4, "atol": 1e-4}, "s3prl hidden states")


@pytest.mark.parametrize("content, case", model_cases(single=True))
def test_a_padded_batch_equals_the_lone_utterances(
    content: dict[str, Any], case: dict[str, Any]
) -> None:
    model = build(content, compatibility=ReferenceCompatibility()).eval().speechclip
    utterances = case["outputs"]["utterances"]
    lengths = torch.tensor([utterance["frames"] for utterance in utterances])
    layers, _, _, dim = utterances[0]["hidden_states"].shape
    torch.manual_seed(0)
    padded = 9 * torch.randn(len(utterances), layers, int(lengths.max()) + 3, dim)
    for row, utterance in enumerate(utterances):
        padded[row, :, : utterance["frames"]] = utterance["hidden_states"][:, 0]
    with torch.no_grad():
        output = model(SpeechStates(padded, lengths))
    for row, utterance in enumerate(utterances):
        recorded = utterance["outputs"]
        for name in ("parallel", "cascaded"):
            if recorded.get(f"{name}_embedding") is not None:
                ours = getattr(output, name)[row]
                assert_close(
                    ours, recorded[f"{name}_embedding"][0], {"rtol": 1e-4, "atol": 2e-5}, name
                )
        if recorded.get("token_rows") is not None:
            count = recorded["token_rows"].size(1)
            assert int(output.keywords.lengths[row]) == count
            assert (
                output.keywords.quantized.rows[row, :count].tolist()
                == recorded["token_rows"][0].tolist()
            )


@pytest.mark.parametrize("content, case", cases("trajectory"))
def test_training_trajectory(content: dict[str, Any], case: dict[str, Any]) -> None:
    model = build(content, compatibility=ReferenceCompatibility())
    recorded, batch = case["outputs"], batch_of(model, case)
    zero: dict[str, Tensor] = {}
    steps = training_steps(model, batch, content, case)
    for wanted, (ours, without_gradient) in zip(recorded["steps"], steps, strict=False):
        assert ours["lr"] == pytest.approx(wanted["lr"], rel=1e-6)
        assert ours["grad_norm"] == pytest.approx(wanted["grad_norm"], rel=5e-2)
        for name in ("temperature", *LOSSES):
            if name in wanted:
                assert ours[name] == pytest.approx(wanted[name], rel=1e-3), name
        for name, entries in without_gradient.items():
            zero[name] = zero.get(name, False) | entries
    compare_final(model, content, recorded, zero)
    if model.speechclip.parallel_projection is not None:
        torch.testing.assert_close(
            parallel_embeddings(model, batch),
            recorded["eval_embeddings"]["parallel_embedding"],
            rtol=1e-2,
            atol=1e-3,
        )


def training_steps(
    model: ESPnetSpeechCLIPModel,
    batch: Mapping[str, Any],
    content: Mapping[str, Any],
    case: Mapping[str, Any],
) -> Iterator[tuple[dict[str, float], dict[str, Tensor]]]:
    """The original's recipe on one batch, without end.

    Yields:
        After each update what is recorded of it, under the original's names, and where weights had
        no gradient, see :func:`zero_gradients`.
    """
    settings = content["config"]["audio_encoder"]
    lr, schedule = settings["optim"]["args"]["lr"], settings["scheduler"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, **settings["optim"]["args"])
    model.train()
    scheduler = PiecewiseLinearWarmupLR(
        optimizer, [0, schedule["warmup"], schedule["max_step"]], [0.0, lr, schedule["final_lr"]]
    )
    for step in itertools.count():
        model.updates_done = step
        record = {"lr": optimizer.param_groups[0]["lr"], "temperature": model.loss.scale.item()}
        encoded = model.encode(**batch)
        loss, stats, _ = model.objective(encoded)
        record |= {theirs: float(stats[ours]) for theirs, ours in LOSSES.items() if ours in stats}
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, case["config"]["clip_grad_norm"])
        record["grad_norm"] = float(norm)
        zero = zero_gradients(model.speechclip, encoded.speech.keywords)
        optimizer.step()
        scheduler.step()
        yield record, zero


def parallel_embeddings(model: ESPnetSpeechCLIPModel, batch: Mapping[str, Any]) -> Tensor:
    """In evaluation mode, (batch, embedding_dim)."""
    model.eval()
    with torch.no_grad():
        return model.encode(**batch).speech.parallel


def compare_final(
    model: ESPnetSpeechCLIPModel,
    content: Mapping[str, Any],
    recorded: Mapping[str, Any],
    zero: Mapping[str, Tensor],
) -> None:
    """Adam moves weights without a gradient by rounding noise, and with them running means."""
    values = trained_values(model)
    for name, value in in_our_layout(recorded["final"], content["state_dict"]).items():
        if name.endswith("running_mean"):
            continue
        ours = values[name].detach().view_as(value)
        if name in zero:
            ours, value = ours[~zero[name]], value[~zero[name]]
        if name.endswith("in_proj_bias"):  # the keys' third has no gradient
            third = len(value) // 3
            ours, value = (torch.cat([x[:third], x[2 * third :]]) for x in (ours, value))
        torch.testing.assert_close(
            ours, value, rtol=0, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )
