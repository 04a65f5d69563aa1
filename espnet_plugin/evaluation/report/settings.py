"""What a reader wants to know of a configuration first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LONG_LIST = 12


def main_settings(config: Mapping) -> list[tuple[str, str]]:
    """Pairs of name and value of the settings that make up a model and its training."""
    model = config.get("model_conf") or {}
    settings = [
        ("speech encoder", _join(config, "speech_encoder")),
        ("CLIP", _values(config.get("clip_conf"))),
        ("parallel branch", "yes" if model.get("parallel", True) else "no"),
        ("keyword extractor", _join(config, "keyword_extractor")),
        ("attention", _join(config, "attention")),
        ("quantizer", _join(config, "quantizer")),
        ("loss", _join(config, "loss")),
        ("weights of the losses", _values(_weights(model))),
        ("optimiser", _join(config, "optim")),
        ("learning rate", _join(config, "scheduler")),
        ("batch", _batch(config)),
        ("epochs", _text(config.get("max_epoch"))),
        ("seed", _text(config.get("seed"))),
    ]
    return [(name, value) for name, value in settings if value]


def shortened(value: Any) -> Any:
    """A copy in which long lists (the keyword vocabulary) are cut."""
    if isinstance(value, Mapping):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if len(value) > _LONG_LIST and not any(isinstance(v, (Mapping, list)) for v in value):
            return [*value[:_LONG_LIST], f"… {len(value) - _LONG_LIST} more"]
        return [shortened(item) for item in value]
    return value


def _join(config: Mapping, name: str) -> str:
    if config.get(name) is None:
        return ""
    values = _values(config.get(f"{name}_conf"))
    return f"{config[name]}" + (f" ({values})" if values else "")


def _values(conf: Mapping | None) -> str:
    pairs = ((key, value) for key, value in (conf or {}).items() if value is not None)
    return ", ".join(f"{key} {_text(value)}" for key, value in pairs)


def _weights(model: Mapping) -> dict[str, Any]:
    return {
        key.removesuffix("_weight"): value
        for key, value in model.items()
        if key.endswith("_weight")
    }


def _batch(config: Mapping) -> str:
    if config.get("batch_size") is None:
        return ""
    accumulation = config.get("accum_grad") or 1
    steps = f" × {accumulation} steps" if accumulation > 1 else ""
    return f"{config['batch_size']} utterances{steps}"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return " ".join(_text(item) for item in value)
    return str(value)
