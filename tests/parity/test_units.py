"""The building blocks compute what the reference computes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from espnet_plugin.model.cif import fire, quantity_loss
from espnet_plugin.model.keyword_extractor import CifKeywordExtractor, Segments, Slots
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.model.losses import MaskedContrastiveLoss
from espnet_plugin.model.quantizer import (
    TokenQuantizer,
    diversity_loss,
    perplexity,
    token_usage,
)
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from tests.parity.fixtures import assert_close, cases, slot_entropy, valid_slots


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.clone().requires_grad_()


def compatibility(case: dict[str, Any]) -> ReferenceCompatibility:
    return ReferenceCompatibility.all() if case["mode"] == "compat" else ReferenceCompatibility()


@pytest.mark.parametrize("content, case", cases("cif_integrate_and_fire"))
def test_integrate_and_fire(content: dict[str, Any], case: dict[str, Any]) -> None:
    inputs, config, outputs = case["inputs"], case["config"], case["outputs"]
    features, alphas = leaf(inputs["feats"]), leaf(inputs["alphas"])
    tail = inputs["target_lengths"] is None and config["tail_handling"]

    def run(*, keep_leftovers: bool) -> Slots:
        shares, found = fire(
            alphas,
            threshold=config["threshold"],
            tail_threshold=config["tail_threshold"] if tail else None,
            keep_leftovers=keep_leftovers,
        )
        return Segments(features, shares, found).cut(int(found.lengths.max()))

    ours = run(keep_leftovers=case["mode"] == "compat")
    if case["mode"] == "crash":
        assert torch.isfinite(ours.embeddings).all()
        return
    assert ours.lengths.tolist() == outputs["slot_lengths"].tolist()
    if case["mode"] == "compat":
        assert_close(ours.embeddings, outputs["slots"], case, "slots")
    else:
        lengths = ours.lengths
        assert_close(
            valid_slots(ours.embeddings, lengths),
            valid_slots(outputs["slots"], lengths),
            case,
            "slots",
        )
    if "cotangent" in case["grads"]:
        # The recorded cotangent covers the padded slots, where the reference leaves its leftovers
        # when it trains.
        run(keep_leftovers=True).embeddings.mul(case["grads"]["cotangent"]).sum().backward()
        assert_close(features.grad, case["grads"]["feats"], case, "gradient of the features")
        assert_close(alphas.grad, case["grads"]["alphas"], case, "gradient of the weights")


@pytest.mark.parametrize("content, case", cases("cif_forward"))
def test_cif(content: dict[str, Any], case: dict[str, Any]) -> None:
    inputs, config, outputs = case["inputs"], case["config"], case["outputs"]
    if case["mode"] == "crash":
        pytest.skip("an option that never worked in the reference and that we do not offer")
    extractor = CifKeywordExtractor(
        config["encoder_embed_dim"],
        conv_width=config["conv_cif_width"],
        conv_layers=config["num_layer"],
        dropout=0.0,
        threshold=config["cif_threshold"],
        tail_threshold=config["tail_handling_firing_threshold"]
        if config["apply_tail_handling"]
        else None,
        scaling_steps=config["scaling_step"] if config["apply_scaling"] else 0,
        compatibility=compatibility(case),
    )
    names = {"weight_proj.1": "weight_projection.1"}
    weights = {rename(key, names): value for key, value in case["state_dict"].items()}
    extractor.cif.load_state_dict(weights)
    extractor.train(config["train"])
    features = leaf(inputs["feats"])

    def run() -> Slots:
        found = extractor(
            features[:, :0],
            features,
            inputs["lengths"],
            target_lengths=inputs["target_lengths"] if config["train"] else None,
            step=inputs["global_step"],
        )
        return found.cut(int(found.lengths.max()))

    ours = run()
    assert ours.lengths.tolist() == outputs["slot_lengths"].tolist()
    assert_close(ours.cif.alphas, outputs["alphas_used"], case, "weights")
    assert_close(ours.cif.alpha_sum, outputs["alpha_sum"], case, "sum of the weights")
    if case["mode"] == "compat":
        assert_close(ours.embeddings, outputs["slots"], case, "slots")
    else:
        lengths = ours.lengths
        assert_close(
            valid_slots(ours.embeddings, lengths),
            valid_slots(outputs["slots"], lengths),
            case,
            "slots",
        )
    loss = torch.zeros(())
    if outputs.get("quantity_loss") is not None:
        loss = quantity_loss(ours.cif.alpha_sum, inputs["target_lengths"])
        assert_close(loss, outputs["quantity_loss"], case, "quantity loss")
    if "cotangent" in case["grads"]:
        # as in test_integrate_and_fire
        extractor.compatibility = replace(extractor.compatibility, keep_leftovers=True)
        slots = (run().embeddings * case["grads"]["cotangent"]).sum()
        (slots + config["quantity_weight_in_grads"] * loss).backward()
        gradient, recorded = features.grad, case["grads"]["feats"]
        if (
            case["mode"] == "default"
        ):  # ours takes none to the padded frames, which it does not look at
            gradient, recorded = (
                valid_slots(value, inputs["lengths"]) for value in (gradient, recorded)
            )
        assert_close(gradient, recorded, case, "gradient of the features")
        for name, parameter in extractor.cif.named_parameters():
            recorded = case["grads"][
                "param." + rename(name, {"weight_projection.1": "weight_proj.1"})
            ]
            assert_close(parameter.grad, recorded, case, f"gradient of {name}")


@pytest.mark.parametrize("content, case", cases("vector_quantizer"))
def test_quantizer(content: dict[str, Any], case: dict[str, Any]) -> None:
    inputs, config, outputs = case["inputs"], case["config"], case["outputs"]
    if case["mode"] == "crash":
        pytest.skip("a way to write the temperature that never worked in the reference")
    kind, start = config["temp"].split("=")
    quantizer = TokenQuantizer(
        temperature=float(start) if kind == "fixed" else f"learned={start}", hard=config["hard"]
    )
    quantizer.train(config["train"])
    keywords, table = leaf(inputs["keywords"]), inputs["table"]
    forbidden = torch.zeros(len(table), dtype=torch.bool)
    forbidden[config["forbidden_positions"]] = True
    ours = quantizer(keywords, table, forbidden=forbidden)
    assert ours.rows.flatten().tolist() == outputs["indices"].flatten().tolist()
    assert_close(ours.embeddings, outputs["embeddings"], case, "embeddings")
    if case["mode"] != "compat":
        assert_close(ours.code_perplexity, outputs["code_perplexity"], case, "code perplexity")
    used = perplexity(token_usage(ours.similarities))
    assert_close(used, outputs["prob_perplexity"], case, "probability perplexity")
    assert_close(slot_entropy(ours.similarities), outputs["entropy_per_slot"], case, "entropy")
    if config.get("groundTruthPerplexity") is None:  # its goal is an option that we do not offer
        loss = diversity_loss(used, len(table))
        assert_close(loss, outputs["diversity_loss"], case, "diversity loss")
    if "keywords" in case["grads"]:
        (ours.embeddings * case["grads"]["cotangent_embeddings"]).sum().backward()
        assert_close(keywords.grad, case["grads"]["keywords"], case, "gradient")
        recorded = case["grads"].get("param.curr_temp")
        if recorded is not None:
            assert_close(
                quantizer.temperature.grad, recorded.squeeze(), case, "gradient of the temperature"
            )
        if kind == "learnable":
            assert torch.isfinite(quantizer.temperature.grad)


@pytest.mark.parametrize("content, case", cases("kw_batchnorm"))
def test_keyword_norm(content: dict[str, Any], case: dict[str, Any]) -> None:
    inputs, config = case["inputs"], case["config"]
    batch, slots, dim = inputs["train_keywords"].shape
    per_slot = config["type"] == "eachKw"
    norm = KeywordBatchNorm(
        dim,
        slots,
        per_slot=per_slot,
        scale=config["std_scale"],
        learnable=config["learnable"],
        compatibility=compatibility(case),
    )
    norm.initialise(inputs["table"])
    state = in_our_layout(case["state_dict"], slots)
    assert_close(norm.norm.weight, state["norm.weight"], case, "initial weight")
    assert_close(norm.norm.bias, state["norm.bias"], case, "initial bias")
    norm.load_state_dict(state)

    lengths = inputs.get("seq_lens")
    if lengths is None and config.get("lengths") is not None:
        lengths = torch.tensor(config["lengths"])
    keywords = leaf(inputs["train_keywords"])
    ours = norm(keywords, lengths)
    if "train" in case["outputs"]:
        assert_close(ours, case["outputs"]["train"], case, "training")
    if "train_keywords_2" in inputs:
        norm(inputs["train_keywords_2"], lengths)
    elif "cotangent" in case["grads"]:
        (ours * case["grads"]["cotangent"]).sum().backward()
        assert_close(keywords.grad, case["grads"]["keywords"], case, "gradient")
        recorded = {
            key[6:]: value for key, value in case["grads"].items() if key.startswith("param.")
        }
        for name, value in in_our_layout(recorded, slots).items():
            assert_close(norm.get_parameter(name).grad, value, case, f"gradient of {name}")
    for name, value in in_our_layout(case["state_dict_after_train"], slots).items():
        assert_close(norm.state_dict()[name], value, case, name)
    norm.eval()
    assert_close(norm(inputs["eval_keywords"], lengths), case["outputs"]["eval"], case, "inference")


def in_our_layout(state: dict[str, torch.Tensor], slots: int) -> dict[str, torch.Tensor]:
    """Names of :class:`KeywordBatchNorm`; a batch norm for each slot becomes one, dim-major."""
    joined = {
        key.replace("bn_layer.", "norm."): value
        for key, value in state.items()
        if "bn_layer." in key
    }
    for name in {key.split(".")[2] for key in state if key.startswith("bn_layers.")}:
        values = torch.stack([state[f"bn_layers.{slot}.{name}"] for slot in range(slots)], dim=-1)
        joined[f"norm.{name}"] = values[0] if name == "num_batches_tracked" else values.flatten()
    return joined


@pytest.mark.parametrize("content, case", cases("masked_contrastive_loss"))
def test_contrastive_loss(content: dict[str, Any], case: dict[str, Any]) -> None:
    inputs, config, outputs = case["inputs"], case["config"], case["outputs"]
    directions = {(True, True): "both", (True, False): "a_to_b", (False, True): "b_to_a"}
    options = {
        "margin": config.get("margin", 0.0),
        "decoupled": config.get("dcl", False),
        "directions": directions[config.get("a2b", True), config.get("b2a", True)],
    }
    if options != {"margin": 0.0, "decoupled": False, "directions": "both"}:
        with pytest.raises(ValueError, match="Only the plain loss trains"):
            MaskedContrastiveLoss(**options)
        return
    loss = MaskedContrastiveLoss(
        initial_temperature=config.get("temperature", 0.07),
        learnable=config.get("temperature_trainable", True),
    )
    if "temperature" in case["state_dict"]:
        loss.load_state_dict({"log_scale": case["state_dict"]["temperature"]})
    a, b = leaf(inputs["feat_a"]), leaf(inputs["feat_b"])
    ours = loss(a, b, inputs["ids"])
    if case["mode"] != "default":  # the reference overflows, or fails on batches over 256
        assert torch.isfinite(ours)
        return
    assert_close(ours, outputs["loss"], case, "loss")
    assert_close(loss.scale, outputs["current_temperature"], case, "scale")
    ours.backward()
    assert_close(a.grad, case["grads"]["feat_a"], case, "gradient of a")
    assert_close(b.grad, case["grads"]["feat_b"], case, "gradient of b")
    if "param.temperature" in case["grads"]:
        assert_close(
            loss.log_scale.grad, case["grads"]["param.temperature"], case, "gradient of the scale"
        )


@pytest.mark.parametrize("content, case", cases("weighted_sum"))
def test_layer_weighting(content: dict[str, Any], case: dict[str, Any]) -> None:
    weighting = LayerWeighting(case["config"]["n"], normalize=case["config"]["normalize_features"])
    weighting.load_state_dict(case["state_dict"])
    hidden_states = leaf(case["inputs"]["hidden_states"])  # (layers, batch, frames, dim)
    features = weighting(hidden_states.transpose(0, 1))
    assert_close(features, case["outputs"]["features"], case, "features")
    (features * case["grads"]["cotangent"]).sum().backward()
    assert_close(hidden_states.grad, case["grads"]["hidden_states"], case, "gradient")
    assert_close(
        weighting.weights.grad, case["grads"]["param.weights"], case, "gradient of the weights"
    )


def rename(key: str, names: dict[str, str]) -> str:
    for old, new in names.items():
        key = key.replace(old, new)
    return key
