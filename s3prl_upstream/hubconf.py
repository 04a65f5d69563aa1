"""Entries for ``s3prl.hub`` and ``torch.hub``, called as s3prl and ESPnet call theirs.

Example:
    upstream = torch.hub.load(PROJECT, "speechclip_plus", source="local", ckpt=MODEL)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3prl_upstream.expert import UpstreamExpert

dependencies = ["torch"]


def speechclip_plus(
    ckpt: str | Path | None = None,
    model_config: str | Path | None = None,
    refresh: bool = False,
    **options: Any,
) -> UpstreamExpert:
    """Any trained model; arguments as :class:`s3prl_upstream.expert.UpstreamExpert`."""
    from s3prl_upstream.expert import UpstreamExpert as _UpstreamExpert

    return _UpstreamExpert(ckpt, model_config, refresh, **options)


def speechclip_parallel(ckpt: str | Path | None = None, **options: Any) -> UpstreamExpert:
    """A model of SpeechCLIP's parallel architecture."""
    return _of_architecture("parallel", ckpt, options)


def speechclip_cascaded(ckpt: str | Path | None = None, **options: Any) -> UpstreamExpert:
    """A model of SpeechCLIP's cascaded architecture."""
    return _of_architecture("cascaded", ckpt, options)


def speechclip_plus_cascaded(ckpt: str | Path | None = None, **options: Any) -> UpstreamExpert:
    """A model of SpeechCLIP+'s cascaded architecture, with CIF."""
    return _of_architecture("cascaded+", ckpt, options)


def speechclip_plus_hybrid(ckpt: str | Path | None = None, **options: Any) -> UpstreamExpert:
    """A model of SpeechCLIP+'s hybrid architecture, with a fixed number of keywords."""
    return _of_architecture("hybrid", ckpt, options)


def speechclip_plus_hybrid_plus(ckpt: str | Path | None = None, **options: Any) -> UpstreamExpert:
    """A model of SpeechCLIP+'s hybrid+ architecture, with CIF."""
    return _of_architecture("hybrid+", ckpt, options)


def _of_architecture(name: str, ckpt: str | Path | None, options: dict[str, Any]) -> UpstreamExpert:
    expert = speechclip_plus(ckpt, **options)
    found = _architecture(expert.model)
    if found != name:
        raise ValueError(
            f"{ckpt}: expected a {name} model, but it is a {found} one; the entry speechclip_plus "
            "takes any"
        )
    return expert


def _architecture(model: Any) -> str:
    has_parallel = model.parallel_projection is not None
    if model.keyword_extractor is None:
        return "parallel"
    # only a fixed number of keywords has queries of its own
    segments = model.keyword_extractor.num_queries == 0
    return ("hybrid" if has_parallel else "cascaded") + ("+" if segments else "")
