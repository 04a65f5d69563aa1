"""Checkpoints that look like the released ones: their names and shapes, with random numbers.

A skeleton names the weights of a released model and their shapes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.usage import usage_of

FULL_TABLE = "clip.original_text_emb_weight"
REDUCED_TABLE = "clip.model.token_embedding.weight"
CLIP_COPY = "cascaded_branch.clip."
CONFIG_MODULE = "avssl.base.ordered_namespace"
DTYPES = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


def read_skeleton(path: str | Path) -> dict[str, tuple[torch.dtype, list[int]]]:
    """Data type and shape of each weight."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    content = content.get("state_dict", content)
    return {key: (DTYPES[dtype], list(shape)) for key, (dtype, shape) in content.items()}


def random_weights(
    skeleton: Mapping[str, tuple[torch.dtype, list[int]]], *, shrink: int = 1
) -> OrderedDict[str, Tensor]:
    """Random weights; CLIP's second copy shares its storage, the reduced table repeats rows of the
    whole one.

    Args:
        skeleton: See :func:`read_skeleton`.
        shrink: Divide every size of 256 and more by this, but for the numbers of tokens.
    """
    tokens = {skeleton[key][1][0] for key in (FULL_TABLE, REDUCED_TABLE)}
    generator = torch.Generator().manual_seed(0)
    weights: OrderedDict[str, Tensor] = OrderedDict()
    for key, (dtype, shape) in skeleton.items():
        shape = [size if size < 256 or size in tokens | {257} else size // shrink for size in shape]
        first = key.removeprefix("cascaded_branch.")
        if key.startswith(CLIP_COPY) and first in weights:
            weights[key] = weights[first]
        elif key == REDUCED_TABLE:
            weights[key] = weights[FULL_TABLE][vocabulary_ids(shape[0])]
        elif dtype is torch.float32:
            weights[key] = torch.empty(shape).normal_(0, 0.02, generator=generator)
        else:
            weights[key] = torch.ones(shape, dtype=dtype)
        if key == "cascaded_branch.vector_quantizer.curr_temp":
            weights[key].fill_(0.1)
        if key.endswith("running_var"):
            weights[key].abs_()
    return weights


def vocabulary_ids(number: int) -> list[int]:
    """Token ids that begin as the original's lists do: padding, a word, start, end."""
    return [0, 320, 49406, 49407, *(token_id for token_id in range(400, 400 + number - 4))]


def plausible_config(
    weights: Mapping[str, Tensor], *, normalize_waveform: bool = False
) -> dict[str, Any]:
    """A configuration under which the original would have made these weights."""
    dim = weights["audio_encoder.encoder.encoder.layer_norm.weight"].shape[0]
    large = "audio_encoder.encoder.feature_extractor.conv_layers.1.2.1.weight" in weights
    args = {"n_layers": 1, "d_model": dim, "nhead": 8, "dropout": 0.1, "norm_first": False}
    linear = next(
        (value for key, value in weights.items() if key.endswith("layers.0.linear1.weight")), None
    )
    args["dim_feedforward"] = 4 * dim if linear is None else linear.shape[0]
    has_cif = "cascaded_branch.downsampling.weight_proj.1.weight" in weights
    hybrid = any(key.startswith("cascaded_branch.parallel_proj.") for key in weights)
    queries = weights.get("cascaded_branch.cascaded_cls", weights.get("cascaded_branch.cls"))
    keyword: dict[str, Any] = {
        "batchnorms": {"type": "eachKw", "std_scale": 1.0, "learnable": True, "parallel": True}
    }
    hidden = weights.get("cascaded_branch.linear_proj.sequential.0.weight")
    if hidden is not None:
        output = weights["cascaded_branch.linear_proj.sequential.3.weight"].shape[0]
        keyword["kw_projection"] = {"dimensions": [dim, hidden.shape[0], output], "dropout": 0.1}
    if not has_cif:
        keyword["number"] = 8 if queries is None else queries.shape[1]
    kinds = {
        (False, False): "KW_CascadedBranch",
        (True, False): "HybridBranch",
        (False, True): "CascadedBranch_dynamic",
        (True, True): "HybridBranch_dynamic",
    }
    cascaded: dict[str, Any] = {
        "type": kinds[hybrid, has_cif],
        "vq": {"type": "SimpleVectorQuantizer", "args": {"temp": "fixed=0.1", "hard": True}},
        "keyword": keyword,
        "transformer_args": args,
    }
    if has_cif:
        width = weights["cascaded_branch.downsampling.conv.0.weight"].shape[2]
        layers = (
            sum(1 for key in weights if key.startswith("cascaded_branch.downsampling.conv.")) // 2
        )
        options = {"conv_cif_width": width, "num_layer": layers, "quantity_loss_weight": 0.25}
        cascaded["downsampling"] = {
            "type": "cif",
            "cif": options | {"cif_threshold": 1.0, "scaling_step": 5000, "apply_scaling": True},
        }
    parallel: dict[str, Any] = {"transformer_args": args, "need_projection": True}
    for prefix in ("cascaded_branch.parallel_proj.", "parallel_branch.linear_proj."):
        if f"{prefix}sequential.0.weight" in weights:
            inner = weights[f"{prefix}sequential.0.weight"].shape[0]
            parallel["projection_config"] = {"dimensions": [dim, inner, dim], "dropout": 0.1}
    return {
        "data": {"dataset": {"name": "flickr", "normalize_waveform": normalize_waveform}},
        "model_settings": {
            "cascaded_objective_weight": 1.0,
            "parallel_objective_weight": 1.0,
            "parallel_branch": parallel,
            "cascaded_branch": cascaded,
        },
        "cl_loss": {
            "type": "MaskedContrastiveLoss",
            "args": {
                "temperature": 0.07,
                "temperature_trainable": "criterion.temperature" in weights,
            },
        },
        "clip": {"name": "ViT-L/14" if large else "ViT-B/32"},
        "audio_encoder": {
            "type": "FairseqHubert",
            "name": "hubert_large_ll60k" if large else "hubert_base",
            "normalize_hiddenstates": False,
        },
    }


def write_lightning(
    path: str | Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], **more: Any
) -> None:
    """Writes a checkpoint as Lightning 1.5 does; its configuration is of no installed class."""
    module = types.ModuleType(CONFIG_MODULE)

    class OrderedNamespace:
        def __init__(self, content: Mapping[str, Any]) -> None:
            self.content = OrderedDict(
                (key, OrderedNamespace(value) if isinstance(value, Mapping) else value)
                for key, value in content.items()
            )

        def __getstate__(self) -> OrderedDict[str, Any]:
            return self.content

    OrderedNamespace.__module__, OrderedNamespace.__qualname__ = CONFIG_MODULE, "OrderedNamespace"
    module.OrderedNamespace = OrderedNamespace  # type: ignore[attr-defined]
    names = [CONFIG_MODULE.rsplit(".", count)[0] for count in range(CONFIG_MODULE.count(".") + 1)]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update({name: types.ModuleType(name) for name in names} | {CONFIG_MODULE: module})
    try:
        torch.save(
            {
                "epoch": 1,
                "global_step": 100,
                "pytorch-lightning_version": "1.5.10",
                "state_dict": OrderedDict(weights),
                "hparams_name": "kwargs",
                "hyper_parameters": {"config": OrderedNamespace(config)},
                **more,
            },
            path,
        )
    finally:
        for name, value in before.items():
            if value is None:
                del sys.modules[name]
            else:
                sys.modules[name] = value


def conversion_memory(skeleton: Path, work_dir: Path, *, shrink: int) -> tuple[int, int]:
    """Bytes of a skeleton's checkpoint, and at the peak of the process that converts it."""
    path = work_dir / "released.ckpt"
    weights = random_weights(read_skeleton(skeleton), shrink=shrink)
    write_lightning(path, weights, plausible_config(weights))
    command = [
        sys.executable,
        "-m",
        "espnet_plugin.bin.speechclip",
        "convert",
        path,
        work_dir / "out",
    ]
    return path.stat().st_size, usage_of(command, stdout=subprocess.DEVNULL).peak
