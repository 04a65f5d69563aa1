"""SpeechCLIP+ as an upstream of s3prl and as the ``s3prl`` front end of any ESPnet recipe.

``speechclip_plus_encoder`` is the upstream to compare it with: the model without its trained part.
Importing this package imports neither torch nor s3prl.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from s3prl_upstream.expert import SpeechEncoderExpert, UpstreamExpert

__all__ = ["SITE_DIRECTORY", "register", "speechclip_plus", "speechclip_plus_encoder"]

# On PYTHONPATH, it registers the upstream in every Python process that imports s3prl.hub
SITE_DIRECTORY = str(Path(__file__).resolve().parent / "site")


def speechclip_plus(
    ckpt: str | Path | None = None,
    model_config: str | Path | None = None,
    refresh: bool = False,
    **options: Any,
) -> UpstreamExpert:
    """Makes the upstream, as ``s3prl.hub`` and ``torch.hub`` do, with UpstreamExpert's arguments.

    Raises:
        ValueError: If ``trust_remote_code`` is given, which ESPnet would read from ``extra_conf``.
    """
    if "trust_remote_code" in options:
        raise ValueError(
            "speechclip_plus takes no trust_remote_code, because its options may come from a file; "
            "call s3prl_upstream.expert.UpstreamExpert"
        )
    from s3prl_upstream.expert import UpstreamExpert

    return UpstreamExpert(ckpt, model_config, refresh, **options)


def speechclip_plus_encoder(
    ckpt: str | Path | None = None,
    model_config: str | Path | None = None,
    refresh: bool = False,
) -> SpeechEncoderExpert:
    """Makes the upstream of the model's speech encoder alone, see SpeechEncoderExpert."""
    from s3prl_upstream.expert import SpeechEncoderExpert

    return SpeechEncoderExpert(ckpt, model_config, refresh)


UPSTREAMS = {make.__name__: make for make in (speechclip_plus, speechclip_plus_encoder)}


def register(hub: ModuleType | None = None) -> None:
    """Adds both upstreams to ``s3prl.hub`` of this process; a second call changes nothing.

    Args:
        hub: Module to add it to, by default ``s3prl.hub``.

    Raises:
        ImportError: If s3prl cannot be imported.
        RuntimeError: If the hub already has another upstream of such a name.
    """
    if hub is None:
        from espnet_plugin.teachers.backends.s3prl import upstream_hub

        hub = upstream_hub()
    for name, make in UPSTREAMS.items():
        present = getattr(hub, name, make)
        # compared by name, because this module may have been imported twice
        if getattr(present, "__module__", None) != __name__:
            raise RuntimeError(
                f"{hub.__name__} already has an upstream {name}, of {present.__module__}; "
                "remove it first"
            )
        setattr(hub, name, make)
