"""A checkpoint in the layout of the authors' hybrid+ models, at a fraction of their width."""

from __future__ import annotations

import io
from collections import OrderedDict

import torch

from tests.released import plausible_config, random_weights, write_lightning

DIM, CLIP_DIM, TOKENS, LAYERS = 24, 32, 64, 2
KERNELS = (10, 3, 3, 3, 3, 2, 2)  # HuBERT's convolutions


def released_checkpoint(*, seed: int = 0) -> bytes:
    """A file as the authors' training left it: weights, configuration, frozen models.

    Args:
        seed: Added to the layer weights: another seed is another file.
    """
    weights = random_weights(_skeleton())
    weights["audio_encoder.weightedsum_layer.weights"] += seed
    file = io.BytesIO()
    write_lightning(file, weights, plausible_config(weights, normalize_waveform=True))
    return file.getvalue()


def _skeleton() -> OrderedDict[str, tuple[torch.dtype, list[int]]]:
    shapes: dict[str, list[int]] = {}
    shapes |= _under("audio_encoder.encoder.", _hubert())
    shapes["audio_encoder.weightedsum_layer.weights"] = [LAYERS + 1]
    clip = {"original_text_emb_weight": [49408, CLIP_DIM], **_under("model.", _clip())}
    shapes |= _under("clip.", clip) | _under("cascaded_branch.clip.", clip)
    shapes |= _under("cascaded_branch.", _hybrid_plus_branch())
    shapes["criterion.temperature"] = []
    return OrderedDict((name, (torch.float32, shape)) for name, shape in shapes.items())


def _hubert() -> dict[str, list[int]]:
    """fairseq's names, the layout of HuBERT base."""
    shapes = {"mask_emb": [DIM], "label_embs_concat": [8, 16], "final_proj.weight": [16, DIM]}
    for layer, width in enumerate(KERNELS):
        shapes[f"feature_extractor.conv_layers.{layer}.0.weight"] = [16, 16 if layer else 1, width]
    shapes |= _affine("feature_extractor.conv_layers.0.2", [16])
    shapes |= _affine("layer_norm", [16]) | _affine("post_extract_proj", [DIM, 16])
    shapes |= {
        "encoder.pos_conv.0.bias": [DIM],
        "encoder.pos_conv.0.weight_g": [1, 1, 16],
        "encoder.pos_conv.0.weight_v": [DIM, DIM // 4, 16],
    }
    shapes |= _affine("encoder.layer_norm", [DIM])
    for layer in range(LAYERS):
        prefix = f"encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _affine(f"{prefix}self_attn.{name}", [DIM, DIM])
        for name in ("self_attn_layer_norm", "final_layer_norm"):
            shapes |= _affine(prefix + name, [DIM])
        shapes |= _affine(f"{prefix}fc1", [48, DIM]) | _affine(f"{prefix}fc2", [DIM, 48])
    return shapes


def _clip() -> dict[str, list[int]]:
    """OpenAI's names; one layer in each tower, images of 2 x 2 patches."""
    shapes = {
        "positional_embedding": [77, CLIP_DIM],
        "text_projection": [CLIP_DIM, CLIP_DIM],
        "logit_scale": [],
        "token_embedding.weight": [TOKENS, CLIP_DIM],
        "visual.class_embedding": [CLIP_DIM],
        "visual.positional_embedding": [5, CLIP_DIM],
        "visual.proj": [CLIP_DIM, CLIP_DIM],
        "visual.conv1.weight": [CLIP_DIM, 3, 16, 16],
    }
    for name in ("visual.ln_pre", "visual.ln_post", "ln_final"):
        shapes |= _affine(name, [CLIP_DIM])
    for tower in ("visual.", ""):
        block = f"{tower}transformer.resblocks.0."
        shapes |= {
            f"{block}attn.in_proj_weight": [3 * CLIP_DIM, CLIP_DIM],
            f"{block}attn.in_proj_bias": [3 * CLIP_DIM],
        }
        shapes |= _affine(f"{block}attn.out_proj", [CLIP_DIM, CLIP_DIM])
        shapes |= _affine(f"{block}ln_1", [CLIP_DIM]) | _affine(f"{block}ln_2", [CLIP_DIM])
        shapes |= _affine(f"{block}mlp.c_fc", [4 * CLIP_DIM, CLIP_DIM])
        shapes |= _affine(f"{block}mlp.c_proj", [CLIP_DIM, 4 * CLIP_DIM])
    return shapes


def _hybrid_plus_branch() -> dict[str, list[int]]:
    shapes = {
        "cls": [1, 1, DIM],
        "self_att.multihead_attn_layer.in_proj_weight": [3 * DIM, DIM],
        "self_att.multihead_attn_layer.in_proj_bias": [3 * DIM],
        "vector_quantizer.curr_temp": [1],
        "bn_layer.bn_layer.running_mean": [CLIP_DIM],
        "bn_layer.bn_layer.running_var": [CLIP_DIM],
        "bn_layer.bn_layer.num_batches_tracked": [],
    }
    shapes |= _affine("self_att.multihead_attn_layer.out_proj", [DIM, DIM])
    shapes |= _affine("self_att.attentionBlock_Norm", [DIM])
    shapes |= _affine("bn_layer.bn_layer", [CLIP_DIM])
    shapes |= _affine("linear_proj", [CLIP_DIM, DIM]) | _affine("parallel_proj", [CLIP_DIM, DIM])
    shapes |= _affine("downsampling.conv.0", [DIM, DIM, 3])
    return shapes | _affine("downsampling.weight_proj.1", [1, DIM])


def _affine(name: str, shape: list[int]) -> dict[str, list[int]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _under(prefix: str, shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    return {prefix + name: shape for name, shape in shapes.items()}
