"""Translate the original's configuration into ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# cascaded_branch.type, as the original reads it -> keyword extractor, with a parallel query or not
BRANCH_TYPES = {
    "CascadedBranch": ("cls", False),
    "CascadedBranch_plus": ("cif", False),
    "HybridBranch": ("cls", True),
    "HybridBranch_plus": ("cif", True),
}
# Networks behind an embedding: the original supports them, but no released checkpoint has one.
EXTRA_PROJECTIONS = (
    "image_encoder_projection",
    "parallel_branch_projection",
    "cascaded_branch_projection",
)
CLIP_MODELS = {"ViT-B/32": "ViT-B-32-quickgelu", "ViT-L/14": "ViT-L-14-quickgelu"}
STATE_NORMS = {"s3prl": "layer", "method1": "frame", "method2": "utterance"}
NORMS = ("eachKw", "same")
LARGE_ENCODERS = ("hubert_large_ll60k",)
# In the layout of large encoders every convolution has a layer norm, not the first one only.
LARGE_LAYOUT = "audio_encoder.encoder.feature_extractor.conv_layers.1.2.1.weight"


def map_config(reference: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Translates a configuration of SpeechCLIP or SpeechCLIP+.

    The weights decide which branches there are (a cascaded SpeechCLIP's configuration describes an
    parallel branch too). The configuration gives their options.

    Args:
        reference: The checkpoint's configuration as nested mappings.
        keys: Names of the checkpoint's weights.

    Returns:
        A configuration for :func:`espnet_plugin.model.factory.build_speechclip`, without
        ``keyword_vocabulary``, and with the original's names of the frozen models in
        ``speech_encoder_conf`` and ``clip_conf``.

    Raises:
        ValueError: If an option has no counterpart here.
    """
    keys = set(keys)
    settings = reference["model_settings"]
    for option in EXTRA_PROJECTIONS:
        if settings.get(option) is not None:
            raise ValueError(
                f"model_settings.{option} has no counterpart: no released checkpoint has a network "
                "behind an embedding"
            )
    cascaded = settings.get("cascaded_branch") or {}
    has_keywords = any(key.startswith("cascaded_branch.vector_quantizer.") for key in keys)
    config: dict[str, Any] = {
        "speech_encoder": "huggingface",
        "speech_encoder_conf": _speech_encoder(reference, keys),
        "layer_weighting_conf": {"normalize": _state_norm(reference["audio_encoder"])},
        "clip_conf": {
            "model": CLIP_MODELS.get(reference["clip"]["name"], reference["clip"]["name"])
        },
        "loss": "masked_contrastive",
        "loss_conf": _loss(reference["cl_loss"]),
    }
    if has_keywords:
        extractor, parallel = _branch(str(cascaded["type"]))
        config |= _attention(cascaded, keys, "cascaded_branch.")
        config |= _keywords(cascaded, extractor)
    else:
        parallel = True
        config |= _attention(settings["parallel_branch"], keys, "parallel_branch.")
        config |= {"keyword_extractor": "none"}
    if parallel:
        branch = settings.get("parallel_branch") or {}
        prefix = (
            "cascaded_branch.parallel_proj." if has_keywords else "parallel_branch.linear_proj."
        )
        config["parallel_projection_conf"] = _projection(
            branch.get("projection_config"), keys, prefix
        )
    config["model_conf"] = {"parallel": parallel, **_weights(settings, config["keyword_extractor"])}
    return config


def _weights(settings: Mapping[str, Any], extractor: str) -> dict[str, float]:
    """Factors of the objectives."""
    quantity = 0.0
    if extractor == "cif":
        cif = settings["cascaded_branch"]["downsampling"]["cif"]
        quantity = float(cif.get("quantity_loss_weight", 1.0))
    return {
        "parallel_weight": float(settings.get("parallel_objective_weight", 1.0)),
        "cascaded_weight": float(settings.get("cascaded_objective_weight", 1.0)),
        "quantity_weight": quantity,
    }


def _speech_encoder(reference: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    name = reference["audio_encoder"]["name"]
    dataset = (reference.get("data") or {}).get("dataset") or {}
    # Base '+' models were trained on normalised waves although HuBERT base was not. Large encoders
    # normalise by themselves. Normalising twice changes nothing.
    normalize = (
        bool(dataset.get("normalize_waveform", False))
        or name in LARGE_ENCODERS
        or LARGE_LAYOUT in keys
    )
    # In the original, shorter utterances of a batch have one more padded frame than alone.
    return {"model": name, "normalize_waveform": normalize, "frame_length_rule": "exact"}


def _state_norm(encoder: Mapping[str, Any]) -> str | bool:
    if not encoder.get("normalize_hiddenstates", False):
        return False
    kind = encoder.get("normalize_type", "s3prl")
    if kind not in STATE_NORMS:
        raise ValueError(f"audio_encoder.normalize_type {kind!r} has no counterpart")
    return STATE_NORMS[kind]


def _loss(loss: Mapping[str, Any]) -> dict[str, Any]:
    if loss["type"] != "MaskedContrastiveLoss":
        raise ValueError(
            f"cl_loss.type {loss['type']} has no counterpart; known: MaskedContrastiveLoss"
        )
    args = loss.get("args") or {}
    directions = (bool(args.get("a2b", True)), bool(args.get("b2a", True)))
    names = {(True, True): "both", (True, False): "a_to_b", (False, True): "b_to_a"}
    return {
        "initial_temperature": float(args.get("temperature", 0.07)),
        "learnable": bool(args.get("temperature_trainable", False)),
        "margin": float(args.get("margin", 0.0)),
        "decoupled": bool(args.get("dcl", False)),
        "directions": names[directions],
    }


def _branch(kind: str) -> tuple[str, bool]:
    """Keyword extractor, and whether there is a parallel query, by ``cascaded_branch.type``."""
    read = kind.replace("KW_", "").replace("dynamic", "plus")
    if read not in BRANCH_TYPES:
        raise ValueError(
            f"cascaded_branch.type {kind} has no counterpart; known: {', '.join(BRANCH_TYPES)}, "
            "with KW_ before them or not, with dynamic for plus or not"
        )
    return BRANCH_TYPES[read]


def _attention(branch: Mapping[str, Any], keys: set[str], prefix: str) -> dict[str, Any]:
    args = branch["transformer_args"]
    common = {
        "num_heads": int(args["nhead"]),
        "dropout": float(args.get("dropout", 0.1)),
        "layer_norm_eps": float(args.get("layer_norm_eps", 1e-5)),
    }
    if f"{prefix}self_att.multihead_attn_layer.in_proj_weight" in keys:
        return {"attention": "attention", "attention_conf": common}
    layers = {
        key.split(".")[4] for key in keys if key.startswith(f"{prefix}self_att.model.layers.")
    }
    if not layers:
        raise ValueError(f"the checkpoint has no weights under {prefix}self_att")
    return {
        "attention": "transformer",
        "attention_conf": common
        | {
            "num_layers": len(layers),
            "feed_forward_dim": int(args["dim_feedforward"]),
            "activation": str(args.get("activation", "gelu")),
            "norm_first": bool(args.get("norm_first", False)),
        },
    }


def _projection(options: Mapping[str, Any] | None, keys: set[str], prefix: str) -> dict[str, Any]:
    if not any(key.startswith(f"{prefix}sequential.") for key in keys):
        return {}
    options = options or {}
    hidden = [int(size) for size in options.get("dimensions", [])[1:-1]]
    return {"hidden_dims": hidden, "dropout": float(options.get("dropout", 0.0))}


def _keywords(branch: Mapping[str, Any], extractor: str) -> dict[str, Any]:
    keyword = branch.get("keyword") or {}
    quantizer = branch["vq"].get("args") or {}
    kind, _, start = str(quantizer.get("temp", "fixed=0.1")).partition("=")
    if kind not in ("fixed", "learnable"):
        raise ValueError(f"quantizer temperature {quantizer['temp']!r} has no counterpart")
    config = {
        "keyword_projection_conf": {},
        "quantizer": "straight_through",
        "quantizer_conf": {
            "temperature": float(start) if kind == "fixed" else f"learned={start}",
            "hard": bool(quantizer.get("hard", True)),
        },
        "keyword_extractor": extractor,
    }
    if keyword.get("batchnorms") is None:
        config |= {"keyword_norm": "none"}
    else:
        config |= {"keyword_norm_conf": _norm(keyword["batchnorms"], extractor)}
    if keyword.get("kw_projection") is not None:
        sizes = keyword["kw_projection"]["dimensions"]
        config["keyword_projection_conf"] = {
            "hidden_dims": [int(size) for size in sizes[1:-1]],
            "dropout": float(keyword["kw_projection"].get("dropout", 0.0)),
        }
    if extractor == "cif":
        return config | {"keyword_extractor_conf": _cif(branch)}
    return config | {"keyword_extractor_conf": {"num_keywords": int(keyword.get("number", 8))}}


def _norm(norms: Mapping[str, Any], extractor: str) -> dict[str, Any]:
    scale = norms.get("std_scale", 1.0)
    if isinstance(scale, list):  # one for each keyword; it set the initial weights only
        scale = scale[0]
    conf = {"scale": float(scale), "learnable": bool(norms.get("learnable", True))}
    if extractor == "cif":  # a variable number of keywords always shares one norm
        return conf
    kind = norms.get("type", "eachKw")
    if kind not in NORMS:
        raise ValueError(
            f"keyword.batchnorms.type {kind} has no counterpart; known: {', '.join(NORMS)}"
        )
    return conf | {"per_slot": False} if kind == "same" else conf


def _cif(branch: Mapping[str, Any]) -> dict[str, Any]:
    downsampling = branch["downsampling"]
    if downsampling.get("type") != "cif":
        raise ValueError(
            f"downsampling.type {downsampling.get('type')} has no counterpart; known: cif"
        )
    options = downsampling["cif"]
    scales = bool(options.get("apply_scaling", True))
    return {
        "conv_width": int(options.get("conv_cif_width", 3)),
        # the original's code ignores conv_cif_layer_num of its YAML files
        "conv_layers": int(options.get("num_layer", 1)),
        "threshold": float(options.get("cif_threshold", 1.0)),
        "tail_threshold": float(options.get("tail_handling_firing_threshold", 0.5))
        if options.get("apply_tail_handling", True)
        else None,
        "scaling_steps": int(options.get("scaling_step", -1)) if scales else 0,
        "frames_per_keyword": 20.0,
        # the original ignores the option inside the `cif` section
        "target": "subwords" if downsampling.get("using_gt_len", False) else "duration",
    }
