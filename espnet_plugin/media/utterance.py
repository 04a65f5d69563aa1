"""One utterance, in any of its forms (:mod:`espnet_plugin.media`), as samples of one rate."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from espnet_plugin.media.audio import checked_speech, read_audio, read_header, resampled
from espnet_plugin.media.speech_activity import SHORTEST, SILENT
from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

# or an AudioDecoder
Utterance: TypeAlias = "Tensor | np.ndarray | str | Path | bytes | Mapping[str, Any]"
MAX_SECONDS = 400.0  # about 7 GB with HuBERT base; attention grows with the square


def read_utterance(
    speech: Utterance,
    *,
    sampling_rate: int | None,
    wanted_rate: int,
    max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
    """Reads an utterance as samples (samples,) at the wanted rate in Hz, float32 in [-1, 1].

    It warns of speech that is longer than ``max_seconds``, silent, or too short for a word.

    Args:
        speech: An utterance in one of the forms of :mod:`espnet_plugin.media`.
        sampling_rate: Rate of samples in Hz, by default the wanted one. Other forms state theirs.
        wanted_rate: Sampling rate in Hz that the speech encoder takes.
        max_seconds: Number of seconds after which longer speech is cut.

    Raises:
        DataError: If a file is missing, unreadable, empty or not finite.
        TypeError: If ``speech`` is something else.
        ValueError: If samples are missing, misshapen or not finite, or the rate is not positive.
    """
    name = utterance_name(speech)
    source, sampling_rate = _unpacked(speech, sampling_rate)
    if isinstance(source, (str, Path, bytes)):
        try:
            audio = read_audio(source if isinstance(source, bytes) else str(source))
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        mono, rate = audio.mono, audio.rate
    else:
        mono = checked_speech(_mono(_array(source)))
        mono = mono.astype(np.promote_types(mono.dtype, np.float32), copy=False)
        rate = wanted_rate if sampling_rate is None else sampling_rate
    if rate <= 0:
        raise ValueError(f"sampling_rate {rate}: give Hz, such as 16000")
    if is_too_long(name, len(mono) / rate, max_seconds):
        mono = mono[: int(max_seconds * rate)]
    elif np.abs(mono).max() < SILENT:
        logging.warning(f"{name}: silent, so its embedding and keywords mean nothing")
    elif len(mono) < SHORTEST * rate:
        logging.warning(
            f"{name}: {len(mono) / rate:.2f} s long, too short for a word, so its embedding and "
            "keywords mean nothing"
        )
    samples = resampled(mono, rate, wanted_rate).astype(np.float32, copy=False)
    if not len(samples):
        raise DataError(f"{name}: shorter than one sample at {wanted_rate} Hz")
    return samples


def is_too_long(name: str, seconds: float, max_seconds: float) -> bool:
    """Whether an utterance must be cut; a warning names it then."""
    if seconds <= max_seconds:
        return False
    logging.warning(
        f"{name}: {seconds:.0f} s long, only the first {max_seconds:.0f} s are used; cut the "
        "recording, or give more max_seconds (--max_seconds)"
    )
    return True


def utterance_name(speech: Utterance) -> str:
    """What messages call it: a file by its path, which a dictionary may have; else ``speech``."""
    if isinstance(speech, Mapping) and speech.get("path"):
        return str(speech["path"])
    return str(speech) if isinstance(speech, (str, Path)) else "speech"


def utterance_seconds(speech: Any, sampling_rate: int | None) -> float:
    """Length in seconds by a file's header or an array's shape, without reading the samples.

    For samples without a rate, the unit is 1/16,000 s. What cannot be read has infinite length.
    """
    if isinstance(speech, Mapping):
        speech, sampling_rate = np.asarray(speech.get("array")), speech.get("sampling_rate")
    if not isinstance(speech, (str, Path, bytes)):
        samples = max(getattr(speech, "shape", ()), default=math.inf)
        return samples / (sampling_rate or SAMPLING_RATE)
    try:
        return read_header(speech if isinstance(speech, bytes) else str(speech)).seconds
    except (OSError, DataError):
        return math.inf


def _unpacked(speech: Any, sampling_rate: int | None) -> tuple[Any, int | None]:
    """Samples and Hz of a dictionary or a decoder, whose channels come first; others stay."""
    if hasattr(speech, "get_all_samples"):
        decoded = speech.get_all_samples()
        return decoded.data.T, decoded.sample_rate
    if not isinstance(speech, Mapping):
        return speech, sampling_rate
    if missing := {"array", "sampling_rate"} - speech.keys():
        raise DataError(f"a recording without {' and '.join(sorted(missing))}")
    return np.asarray(speech["array"]).T, speech["sampling_rate"]


def _array(speech: Tensor | np.ndarray) -> np.ndarray:
    if hasattr(speech, "detach"):  # a tensor; PyTorch is imported for integers only
        speech = speech.detach().cpu()
        speech = (speech.float() if speech.is_floating_point() else speech).numpy()
    if not isinstance(speech, np.ndarray):
        raise TypeError(
            f"speech is of type {type(speech).__name__}: give the samples of one utterance as an "
            "array or tensor, or a file"
        )
    if not np.issubdtype(speech.dtype, np.floating):
        from espnet_plugin.utils.samples import float_speech

        speech = float_speech(speech)
    return speech


def _mono(speech: np.ndarray) -> np.ndarray:
    if speech.ndim == 1:
        return speech
    if speech.ndim == 2 and speech.shape[0] > speech.shape[1] > 0:
        return speech.mean(axis=1)  # (samples, channels) → (samples,)
    raise ValueError(
        f"speech has shape {speech.shape}: one utterance is (samples,) or (samples, channels). "
        "Transpose (channels, samples); give several utterances as a list"
    )
