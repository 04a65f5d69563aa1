"""All architectures compute what the reference computes: embeddings, keywords, losses, gradients,
training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from espnet_plugin.speechclip.compatibility import ReferenceCompatibility
from espnet_plugin.speechclip.model import SpeechOutput
from espnet_plugin.speechclip.quantizer import slot_entropy
from espnet_plugin.speechclip.schedule import linear_warmup_decay
from espnet_plugin.speechclip.speech_encoder import SpeechStates
from espnet_plugin.train.espnet_model import ESPnetSpeechCLIPModel
from tests.parity.fixtures import assert_close, assert_gradient_close, cases
from tests.parity.models import build, reference_names

OUTPUTS = {
    "keywords_before_bn": lambda output: output.keywords.projected,
    "keywords_after_bn": lambda output: output.keywords.embeddings,
    "token_rows": lambda output: output.keywords.quantized.rows,
    "soft_tokens": lambda output: output.keywords.quantized.embeddings,
    "entropy_per_slot": lambda output: slot_entropy(output.keywords.quantized.similarities),
    "cif_slots": lambda output: output.keywords.slots,
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
        "speech_states": inputs["hidden_states"].permute(
            1, 2, 0, 3
        ),  # (batch, frames, layers, dim)
        "speech_states_lengths": inputs["frame_lengths"],
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
    model.num_updates.fill_(case["config"]["global_step"])
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
        compare_gradients(model, content, case)
    if case.get("batchnorm_after"):
        state = model.speechclip.keyword_norm.state_dict()
        for key, value in case["batchnorm_after"].items():
            assert_close(
                state[key.replace("cascaded_branch.bn_layer.bn_layer", "norm")], value, case, key
            )


def compare(output: SpeechOutput, recorded: Mapping[str, Any], case: Mapping[str, Any]) -> None:
    """Everything that the reference recorded of the speech side."""
    for name, value in OUTPUTS.items():
        theirs = recorded.get(name)
        if theirs is None:
            continue
        if theirs.dtype == torch.long:
            assert value(output).tolist() == theirs.tolist(), name
        else:
            assert_close(value(output), theirs, {"rtol": case["rtol"], "atol": 2e-5}, name)
    quantized = output.keywords.quantized if output.keywords else None
    for name, ours in (
        ("code_perplexity", "code_perplexity"),
        ("prob_perplexity", "probability_perplexity"),
    ):
        # The reference counts padded slots in its perplexities.
        if recorded.get(name) is not None and case["mode"] == "default":
            assert_close(getattr(quantized, ours), recorded[name], case, name)


def compare_gradients(
    model: ESPnetSpeechCLIPModel, content: Mapping[str, Any], case: Mapping[str, Any]
) -> None:
    names = reference_names(content["state_dict"])
    ours = {names[name]: p for name, p in model.speechclip.named_parameters() if name in names}
    ours["criterion.temperature"] = getattr(model.loss, "log_scale", None)
    quantizer = getattr(model.speechclip, "quantizer", None)
    ours["cascaded_branch.vector_quantizer.curr_temp"] = getattr(quantizer, "temperature", None)
    zero = zero_gradients(model, names)
    for key, gradient in case["grads"].items():
        if key in zero:
            continue
        value = ours[key].grad
        assert_gradient_close(value.view_as(gradient) if value is not None else None, gradient, key)


def zero_gradients(model: ESPnetSpeechCLIPModel, names: Mapping[str, str]) -> set[str]:
    """Weights whose gradient is analytically zero: what is recorded is rounding noise."""
    speechclip = model.speechclip
    if speechclip.keyword_extractor is None:
        return set()
    last = len(speechclip.keyword_projection) - 1
    ours = {f"keyword_projection.{last}.bias"}
    if speechclip.keyword_norm.num_slots and speechclip.parallel_projection is None:
        ours.add("attention.norm.bias")
    return {names[name] for name in ours if name in names}


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
    model.train()
    recorded, batch = case["outputs"], batch_of(model, case)
    settings = content["config"]["audio_encoder"]
    lr, schedule = settings["optim"]["args"]["lr"], settings["scheduler"]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, **settings["optim"]["args"])
    for step, wanted in enumerate(recorded["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = linear_warmup_decay(
                step,
                lr,
                warmup=schedule["warmup"],
                steps=schedule["max_step"],
                final=schedule["final_lr"],
            )
        assert group["lr"] == pytest.approx(wanted["lr"], rel=1e-6)
        assert model.loss.scale.item() == pytest.approx(wanted["temperature"], rel=1e-3)
        model.num_updates.fill_(step)
        loss, stats, _ = model(**batch)
        for theirs, ours in LOSSES.items():
            if theirs in wanted:
                assert float(stats[ours]) == pytest.approx(wanted[theirs], rel=1e-3), (step, theirs)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, case["config"]["clip_grad_norm"])
        assert float(norm) == pytest.approx(wanted["grad_norm"], rel=5e-2)
        optimizer.step()
    compare_final(model, content, batch, recorded)


def compare_final(
    model: ESPnetSpeechCLIPModel,
    content: Mapping[str, Any],
    batch: Mapping[str, Any],
    recorded: Mapping[str, Any],
) -> None:
    names = reference_names(content["state_dict"])
    state = {
        names[name]: value for name, value in model.speechclip.state_dict().items() if name in names
    }
    zero = zero_gradients(model, names)
    for key, value in recorded["final"].items():
        if key in zero or key.endswith("running_mean"):
            continue
        ours = model.loss.log_scale if key == "criterion.temperature" else state[key].view_as(value)
        if key.endswith("in_proj_bias"):  # the keys' third has no gradient
            third = len(value) // 3
            ours, value = (torch.cat([x[:third], x[2 * third :]]) for x in (ours, value))
        torch.testing.assert_close(
            ours.detach(), value, rtol=0, atol=1e-3, msg=lambda text, key=key: f"{key}: {text}"
        )
    if model.speechclip.parallel_projection is not None:
        model.eval()
        with torch.no_grad():
            output = model.encode(**batch).speech.parallel
        torch.testing.assert_close(
            output, recorded["eval_embeddings"]["parallel_embedding"], rtol=1e-2, atol=1e-3
        )
