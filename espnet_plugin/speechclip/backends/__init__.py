"""Where frozen speech encoders come from: one builder per source, under a name.

A backend is a ``torch.nn.Module`` of the form of ``SpeechBackend``. A further source is one more
function that builds such a module, put into ``BACKENDS`` under its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor


class SpeechBackend(Protocol):
    """What every speech encoder backend offers (besides being a ``torch.nn.Module``)."""

    num_layers: int  # number of hidden states, L + 1 for an encoder of L layers
    dim: int
    stride: int  # samples per frame
    sampling_rate: int
    min_samples: int  # shorter utterances are continued with zeros up to so many samples
    normalize_waveform: bool  # what the backend does, after defaults are resolved

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """Number of frames (batch,) of utterances of so many samples (batch,)."""
        ...

    def __call__(
        self, speech: Tensor, sample_lengths: Tensor, *, normalize: bool | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (batch, layers + 1, frames, dim), 0 at padding, and frames (batch,).

        ``normalize`` takes the place of ``normalize_waveform`` for this call; None: it does not.
        """
        ...


def _huggingface(**options: Any) -> SpeechBackend:
    from espnet_plugin.speechclip.backends.huggingface import HuggingFaceBackend

    return HuggingFaceBackend(**options)


def _s3prl(**options: Any) -> SpeechBackend:
    from espnet_plugin.speechclip.backends.s3prl import S3prlBackend

    return S3prlBackend(**options)


BACKENDS: dict[str, Callable[..., SpeechBackend]] = {
    "huggingface": _huggingface,
    "s3prl": _s3prl,
}


def build_backend(source: str, **options: Any) -> SpeechBackend:
    """Build the backend that is registered as ``source``.

    Raises:
        ValueError: if no backend has that name.
    """
    if source not in BACKENDS:
        raise ValueError(
            f"Unknown speech encoder source {source!r}: choose one of {', '.join(sorted(BACKENDS))}"
        )
    return BACKENDS[source](**options)
