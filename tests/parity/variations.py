"""Public fixtures rewritten into others of the same form, to show what the tests do not rely on.

Each function returns a new content whose recorded numbers follow from the given ones by the
fixtures' own formulas.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

CIF = "cascaded_branch.downsampling."
NORM = "cascaded_branch.bn_layer.bn_layer."
TABLES = ("clip.model.token_embedding.weight", "cascaded_branch.clip.model.token_embedding.weight")
FORBIDDEN_ROWS = [0, 2, 3]
Content = dict[str, Any]


def with_separate_norms(content: Content) -> Content:
    """One batch norm per keyword instead of one whose channel of slot k, dimension d is d * K + k.

    Statistics and gradients of a channel are the same in both layouts.
    """
    keyword = content["config"]["model_settings"]["cascaded_branch"]["keyword"]
    varied = copy.deepcopy(content)
    options = varied["config"]["model_settings"]["cascaded_branch"]["keyword"]["batchnorms"]
    options["parallel"] = False
    varied["state_dict"] = _separate(content["state_dict"], keyword["number"])
    for case, original in zip(varied["cases"], content["cases"], strict=True):
        for name in ("grads", "batchnorm_after"):
            if original.get(name):
                case[name] = _separate(original[name], keyword["number"])
    return varied


def _separate(values: Mapping[str, Tensor], slots: int) -> dict[str, Tensor]:
    separate = {}
    for key, value in values.items():
        if not key.startswith(NORM):
            separate[key] = value
            continue
        parts = value.view(-1, slots).T if value.dim() else [value] * slots  # (slots, dim)
        for slot, part in enumerate(parts):
            name = f"cascaded_branch.bn_layer.bn_layers.{slot}.{key.removeprefix(NORM)}"
            separate[name] = part.clone()
    return separate


def in_id_order(content: Content) -> Content:
    """The vocabulary in order of ids; positions 0, 2 and 3 are forbidden whatever stands there.

    What the quantiser makes of the recorded keywords is computed again. Where a keyword becomes
    another token, everything behind the quantiser is left out; gradients always.
    """
    varied = copy.deepcopy(content)
    ids = torch.tensor(content["vocab"]["ids"])
    order = ids.argsort()  # old row of each new one
    special = {
        f"{name}_row": int((order == content["vocab"][f"{name}_row"]).nonzero())
        for name in ("sot", "eot", "pad")
    }
    varied["vocab"] |= special | {
        "ids": ids[order].tolist(),
        "forbidden_rows": FORBIDDEN_ROWS,
    }
    for key in TABLES:
        if key in varied["state_dict"]:
            varied["state_dict"][key] = content["state_dict"][key][order]
    table = varied["state_dict"][TABLES[0]]
    for case in varied["cases"]:
        case["grads"] = {}
        for outputs in _outputs(case):
            if outputs.get("keywords_after_bn") is not None:
                _quantize(outputs, table, varied["vocab"]["ids"])
    return varied


def _outputs(case: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "utterances" in case["outputs"]:
        yield from (utterance["outputs"] for utterance in case["outputs"]["utterances"])
    else:
        yield case["outputs"]


def _quantize(outputs: dict[str, Any], table: Tensor, ids: list[int]) -> None:
    keywords = outputs["keywords_after_bn"]
    cosines = torch.cosine_similarity(keywords[:, :, None], table, dim=-1)  # (batch, slots, rows)
    cosines[..., FORBIDDEN_ROWS] = -torch.inf
    soft = cosines.softmax(dim=-1)
    rows = cosines.argmax(dim=-1)
    token_ids = torch.tensor(ids)[rows]
    if not torch.equal(token_ids, outputs["token_ids"]):
        outputs |= {"cascaded_embedding": None, "losses": {}}
    usage = torch.nn.functional.one_hot(rows, len(table)).float()
    outputs |= {"token_rows": rows, "token_ids": token_ids, "soft_tokens": table[rows]}
    outputs["entropy_per_slot"] = -(soft * (soft + 1e-9).log()).sum(dim=-1).mean(dim=0)
    for name, shares in (("code_perplexity", usage), ("prob_perplexity", soft)):
        mean = shares.mean(dim=(0, 1))
        outputs[name] = torch.exp(-(mean * (mean + 1e-7).log()).sum())


def with_two_convolutions(content: Content) -> Content:
    """A second convolution in CIF, with a bias: what it sees at padding decides the last weights of
    an utterance.

    What follows from the weights of the frames is left out.
    """
    varied = copy.deepcopy(content)
    varied["config"]["model_settings"]["cascaded_branch"]["downsampling"]["cif"]["num_layer"] = 2
    weights = {key.removeprefix(CIF): value for key, value in content["state_dict"].items()}
    first, bias = weights["conv.0.weight"], weights["conv.0.bias"]
    generator = torch.Generator().manual_seed(0)
    second = first + 0.1 * torch.randn(first.shape, generator=generator)
    varied["state_dict"] |= {f"{CIF}conv.3.weight": second, f"{CIF}conv.3.bias": bias + 0.5}
    for case in varied["cases"]:
        if case["mode"] != "compat" or case["config"]["train"]:
            continue
        outputs, lengths = case["outputs"], case["inputs"]["frame_lengths"]
        frames = outputs["attention_out"][:, -int(outputs["alphas_raw"].size(1)) :]
        hidden = frames.transpose(1, 2)  # (batch, dim, frames)
        for kernel, shift in ((first, bias), (second, bias + 0.5)):
            hidden = torch.conv1d(hidden, kernel, shift, padding=kernel.size(2) // 2).relu()
        logits = hidden.transpose(1, 2) @ weights["weight_proj.1.weight"].T
        alphas = (logits + weights["weight_proj.1.bias"])[..., 0].sigmoid()  # (batch, frames)
        alphas[torch.arange(alphas.size(1)) >= lengths[:, None]] = 0
        kept = ("parallel_embedding", "image_embedding", "contrastive_temperature")
        case["outputs"] = {name: outputs.get(name) for name in kept} | {
            "alphas_used": alphas,
            "alpha_sum": alphas.sum(dim=1),
            "losses": {},
        }
    return varied


def with_normalised_data(content: Content) -> Content:
    """A large encoder's data set normalises the waves too; a second time changes nothing."""
    varied = copy.deepcopy(content)
    varied["config"]["data"]["dataset"]["normalize_waveform"] = True
    return varied


def as_checkpoint(content: Content) -> Content:
    """What accompanies a checkpoint of this model: lone utterances, and the same as the reference's
    inference feeds them, which for large encoders is the same.
    """
    single = next(case for case in content["cases"] if "utterances" in case["outputs"])
    raw = copy.deepcopy(single)
    raw |= {"name": "single_raw_wave_as_reference_inference", "mode": "compat"}
    for utterance in raw["outputs"]["utterances"]:
        for branch in ("parallel", "cascaded"):
            embedding = utterance["outputs"].get(f"{branch}_embedding_as_returned")
            utterance[f"{branch}_audio_feat"] = embedding
    return content | {"kind": "checkpoint", "checkpoint": "varied.ckpt", "cases": [single, raw]}


def with_open_units(content: Content, *, units: int) -> Content:
    """The first hidden units of the keyword projection are open whatever comes in; at a rate of
    learning that shows what moves."""
    varied = copy.deepcopy(content)
    varied["state_dict"]["cascaded_branch.linear_proj.sequential.0.bias"][:units] += 5.0
    settings = varied["config"]["audio_encoder"]
    settings["optim"]["args"]["lr"] = 1e-3
    settings["scheduler"] |= {"warmup": 3, "max_step": 12}
    return varied
