"""SpeechCLIP+ for ESPnet: bridging speech and text through images, without transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import SpeechCLIP

__all__ = ["SpeechCLIP", "__version__"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name == "SpeechCLIP":  # imported when it is used: it needs PyTorch
        from espnet_plugin.inference.speechclip import SpeechCLIP

        return SpeechCLIP
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
