"""Lengths, schedules, blocks, CLIP's text tower and the remaining pieces compute what the reference
computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from espnet2.schedulers.piecewise_linear_warmup_lr import PiecewiseLinearWarmupLR
from espnet2.schedulers.warmup_lr import WarmupLR
from torch import Tensor

from espnet_plugin.model.attention import AttentionBlock, TransformerBlock
from espnet_plugin.model.cif import duration_targets
from espnet_plugin.model.factory import projection
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.model.quantizer import cosine_similarities
from espnet_plugin.teachers.waveforms import prepare_waveforms
from espnet_plugin.utils.compatibility import rounded_frame_lengths
from espnet_plugin.utils.padding import padding_mask
from tests.parity.fixtures import assert_close, cases, fixture_files
from tests.parity.models import text_tower

Case = Mapping[str, Any]


def frames_single(case: Case) -> None:
    samples = torch.tensor(case["inputs"]["samples"])
    exact = (samples - 400) // 320 + 1
    assert exact.tolist() == case["outputs"]["frames"] == case["outputs"]["legacy_lengths_single"]


def frames_batch_legacy(case: Case) -> None:
    samples = torch.tensor(case["inputs"]["samples"])
    ours = rounded_frame_lengths(samples, case["outputs"]["padded_frames"], stride=320)
    assert ours.tolist() == case["outputs"]["legacy_lengths"].tolist()


def target_lengths(case: Case) -> None:
    ours = duration_targets(case["inputs"]["frames"], 20)
    assert ours.tolist() == case["outputs"]["targets"].tolist()


def padding(case: Case) -> None:
    ours = padding_mask(case["inputs"]["lengths"], case["inputs"]["max_length"])
    assert torch.equal(ours, case["outputs"]["mask"].bool())


def pad_waves(case: Case) -> None:
    waves = case["inputs"]["wavs"]
    lengths = torch.tensor([len(wave) for wave in waves])
    ours = torch.nn.utils.rnn.pad_sequence([wave.float() for wave in waves], batch_first=True)
    normalize = case["config"]["layer_norm"]
    ours, _ = prepare_waveforms(ours, lengths, normalize=normalize, min_samples=1)
    assert_close(ours, case["outputs"]["padded"], case, "waves")


def encode_keywords(case: Case) -> None:
    keywords, lengths = case["inputs"]["keywords"], case["inputs"]["lengths"]
    lengths = torch.as_tensor(lengths).expand(len(keywords))
    tower = text_tower(case["config"]["vocab"]["ids"], shared_text_weights(case))
    if case["mode"] == "crash":
        with pytest.raises(ValueError, match="context|positions|75|77"):
            tower.encode_soft_tokens(keywords, lengths)
        return
    normal = torch.nn.functional.normalize
    ours = tower.encode_soft_tokens(keywords, lengths)
    assert_close(ours, normal(case["outputs"]["embedding"], dim=-1), case, "embedding")


def reduced_text(case: Case) -> None:
    """Original ids and the full table, read at the end token, unlike the reference."""
    tower = text_tower(case["config"]["vocab"]["ids"], shared_text_weights(case))
    ids = case["inputs"]["text_ids"]
    ends = case["outputs"]["eot_position"].flatten()
    keywords = tower.token_embedding[ids][:, 1:-1]
    ours = tower.encode_soft_tokens(keywords, ends - 1)
    wanted = torch.nn.functional.normalize(case["outputs"]["text_embedding"], dim=-1)
    assert_close(ours, wanted, case, "text embedding")


def shared_text_weights(case: Case) -> dict[str, torch.Tensor]:
    """The text tower's weights are in the first case of the file that needs them."""
    for _, content in fixture_files("misc"):
        if any(other is case for other in content["cases"]):
            named = (c for c in content["cases"] if c["name"].startswith("encode_keywords_"))
            return next(named)["state_dict"]
    raise AssertionError("a case of no file")


@torch.no_grad()
def last_attention(block: AttentionBlock | TransformerBlock, x: Tensor, mask: Tensor) -> Tensor:
    """Attention weights of the last layer's heads, (batch, heads, positions, positions)."""
    if isinstance(block, AttentionBlock):
        attention = block.attention
    else:
        for layer in block.layers[:-1]:
            x = layer(x, mask)
        last = block.layers[-1]
        attention, x = last.self_attn, last.norm1(x) if last.norm_first else x
    return attention(x, x, x, key_padding_mask=mask, average_attn_weights=False)[1]


def block(case: Case) -> None:
    config = case["config"]
    if config["kind"] == "MultiheadAttentionAndNorm":
        module = AttentionBlock(
            config["d_model"],
            num_heads=config["nhead"],
            dropout=0.0,
            layer_norm_eps=config.get("layer_norm_eps", 1e-5),
        )
        names = {"multihead_attn_layer": "attention", "attentionBlock_Norm": "norm"}
    else:
        module = TransformerBlock(
            config["d_model"],
            num_layers=config["n_layers"],
            num_heads=config["nhead"],
            feed_forward_dim=config["dim_feedforward"],
            dropout=0.0,
            norm_first=config.get("norm_first", False),
            activation=config.get("activation", "gelu"),
            layer_norm_eps=config.get("layer_norm_eps", 1e-5),
        )
        names = {"model.layers": "layers", "model.norm": "norm"}

    def ours_of(key: str) -> str:
        return next(key.replace(old, new, 1) for old, new in names.items() if key.startswith(old))

    module.load_state_dict({ours_of(key): value for key, value in case["state_dict"].items()})
    source, mask = (
        case["inputs"]["src"].clone().requires_grad_(),
        case["inputs"]["padding_mask"].bool(),
    )
    output = module(source, mask)
    valid = ~mask
    assert_close(output.output[valid], case["outputs"]["out"][valid], case, "output")
    for state, recorded in zip(output.layers, case["outputs"]["hidden_states"][1:], strict=True):
        assert_close(state[valid], recorded[valid], case, "layer")
    (output.output * case["grads"]["cotangent"]).sum().backward()
    assert_close(source.grad[valid], case["grads"]["src"][valid], case, "gradient")
    for key, recorded in case["grads"].items():
        if key.startswith("param."):
            ours = module.get_parameter(ours_of(key.removeprefix("param."))).grad
            assert_close(ours, recorded, {"rtol": 1e-3, "atol": 1e-4}, key)
    if "attention_map" in case["outputs"]:
        recorded = case["outputs"]["attention_map"].transpose(1, 2)[valid]
        ours = last_attention(module, source.detach(), mask).transpose(1, 2)[valid]
        assert_close(ours, recorded, case, "attention map")


def mlp(case: Case) -> None:
    first, *hidden, last = case["config"]["units"]
    module = projection(first, last, hidden_dims=hidden)
    module.load_state_dict(
        {key.removeprefix("sequential."): value for key, value in case["state_dict"].items()}
    )
    assert_close(module(case["inputs"]["x"]), case["outputs"]["y"], case, "projection")


def normalised_states(case: Case) -> None:
    names = {"s3prl": "layer", "method1": "frame", "method2": "utterance"}
    normalize = names[case["config"]["type"]]
    weighting = LayerWeighting(len(case["inputs"]["weights"]), normalize=normalize)
    weighting.weights.data.copy_(case["inputs"]["weights"])
    ours = weighting(case["inputs"]["hidden_states"].transpose(0, 1))
    assert_close(ours, case["outputs"]["features"], case, "features")


def neighbours(case: Case) -> None:
    config, inputs = case["config"], case["inputs"]
    keywords, table = inputs["keywords"], inputs["table"]
    if config["method"] == "cosine":
        similarities = cosine_similarities(keywords, table)
    else:
        similarities = keywords @ torch.linalg.pinv(table.T).T
    scores, rows = similarities.topk(config["k"], dim=-1)
    ours = torch.tensor(config["vocab"]["ids"])[rows]
    assert ours.tolist() == case["outputs"]["token_ids"].tolist()
    if case["outputs"].get("scores") is not None:
        assert_close(scores, case["outputs"]["scores"], case, "scores")


CHECKS: dict[str, Callable[[Case], None]] = {
    "frames_single": frames_single,
    "frames_batch_legacy": frames_batch_legacy,
    "target_lengths": target_lengths,
    "padding_mask_": padding,
    "pad_waves_": pad_waves,
    "encode_keywords_": encode_keywords,
    "attention_norm_": block,
    "transformer_": block,
    "projection_mlp": mlp,
    "normalise_hidden_states_": normalised_states,
    "keyword_neighbours_": neighbours,
    "reduced_text": reduced_text,
}


@pytest.mark.parametrize("content, case", cases("misc"))
def test_misc(content: dict[str, Any], case: dict[str, Any]) -> None:
    check = next(
        (check for prefix, check in CHECKS.items() if case["name"].startswith(prefix)), None
    )
    assert check is not None, f"no check for misc case {case['name']}"
    check(case)


@pytest.mark.parametrize("content, case", cases("lr_schedule"))
def test_schedule(content: dict[str, Any], case: dict[str, Any]) -> None:
    """ESPnet's schedulers, which the recipes use, as far as both go."""
    config = case["config"]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config["lr"])
    recorded = dict(zip(case["inputs"]["steps"], case["outputs"]["lrs"], strict=True))
    if config["name"] == "noam":
        scheduler, steps = WarmupLR(optimizer, config["warmup"]), max(recorded) + 1
    else:
        steps = config["max_step"]
        scheduler = PiecewiseLinearWarmupLR(
            optimizer, [0, config["warmup"], steps], [0.0, config["lr"], config["final_lr"]]
        )
    for step in range(steps):
        if step in recorded:
            lr = float(optimizer.param_groups[0]["lr"])
            assert lr == pytest.approx(recorded[step], rel=case["rtol"], abs=case["atol"]), step
        optimizer.step()
        scheduler.step()
