"""Entries for ``torch.hub.load(DIRECTORY, NAME, source="local", ckpt=MODEL)``."""

from s3prl_upstream.hubconf import (
    dependencies,
    speechclip_cascaded,
    speechclip_parallel,
    speechclip_plus,
    speechclip_plus_cascaded,
    speechclip_plus_hybrid,
    speechclip_plus_hybrid_plus,
)

__all__ = [
    "dependencies",
    "speechclip_cascaded",
    "speechclip_parallel",
    "speechclip_plus",
    "speechclip_plus_cascaded",
    "speechclip_plus_hybrid",
    "speechclip_plus_hybrid_plus",
]
