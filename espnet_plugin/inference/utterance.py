"""One utterance, in whichever form it comes, as samples that a speech encoder takes."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
from torch import Tensor

from espnet_plugin.data.audio import read_audio, read_header, resampled
from espnet_plugin.data.scp import DataError
from espnet_plugin.data.speech_activity import SILENT
from espnet_plugin.speechclip.backends.waveform import checked_speech, float_speech

Utterance = Tensor | np.ndarray | str | Path
MAX_SECONDS = 400.0  # about 7 GB with HuBERT base; attention grows with the square
SHORTEST = 0.2  # seconds; less holds no word


def read_utterance(
    speech: Utterance,
    *,
    sampling_rate: int | None,
    wanted_rate: int,
    max_seconds: float = MAX_SECONDS,
) -> np.ndarray:
    """Samples (samples,) at the wanted rate in Hz, floating point in [-1, 1].

    A warning tells of speech that is longer than ``max_seconds``, silent, or too short for a word.

    Args:
        speech: Samples (samples,) or (samples, channels), floating point in [-1, 1] or integers as
            recordings hold them; or an audio file. Channels are averaged.
        sampling_rate: Of samples in Hz; None: the wanted one. A file says its own.
        wanted_rate: What the speech encoder hears.
        max_seconds: Of longer speech only the beginning is returned.

    Raises:
        DataError: When a file is missing, unreadable, empty or not finite.
        TypeError: When ``speech`` is something else.
        ValueError: When samples are none, not of that shape, not finite, or the rate is no rate.
    """
    if isinstance(speech, (str, Path)):
        if sampling_rate is not None:
            raise ValueError(f"{speech}: sampling_rate is for samples; a file says its own")
        try:
            audio = read_audio(str(speech))
        except DataError as error:
            raise DataError(f"{speech}: {error}") from error
        mono, sampling_rate = audio.mono, audio.rate
    else:
        mono = checked_speech(_mono(float_speech(_array(speech))))
        mono = mono.astype(np.promote_types(mono.dtype, np.float32), copy=False)
    rate = wanted_rate if sampling_rate is None else sampling_rate
    if rate <= 0:
        raise ValueError(f"sampling_rate {rate}: give Hz, such as 16000")
    name = utterance_name(speech)
    heard = resampled(_heard(mono, rate, max_seconds, name), rate, wanted_rate)
    if not len(heard):
        raise DataError(f"{name}: shorter than one sample at {wanted_rate} Hz")
    return heard


def utterance_name(speech: Utterance) -> str:
    """What messages call it: a file by its path, samples ``speech``."""
    return str(speech) if isinstance(speech, (str, Path)) else "speech"


def _heard(mono: np.ndarray, rate: int, max_seconds: float, name: str) -> np.ndarray:
    seconds = len(mono) / rate
    if seconds > max_seconds:
        logging.warning(
            f"{name}: {seconds:.0f} s long, the first {max_seconds:.0f} s of it are heard; cut the "
            "recording, or give more max_seconds (--max_seconds)"
        )
        return mono[: int(max_seconds * rate)]
    if np.abs(mono).max() < SILENT:
        logging.warning(f"{name}: silent, so what is heard in it means nothing")
    elif seconds < SHORTEST:
        logging.warning(
            f"{name}: {seconds:.2f} s long, too short for a word, so what is heard in it means "
            "nothing"
        )
    return mono


def _array(speech: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(speech, Tensor):
        speech = speech.detach().cpu().numpy()
    if not isinstance(speech, np.ndarray):
        raise TypeError(
            f"speech is of type {type(speech).__name__}: give the samples of one utterance as an "
            "array or tensor, or a file"
        )
    return speech


def _mono(speech: np.ndarray) -> np.ndarray:
    if speech.ndim == 1:
        return speech
    if speech.ndim == 2 and speech.shape[0] > speech.shape[1] > 0:
        return speech.mean(axis=1)  # (samples, channels) → (samples,)
    raise ValueError(
        f"speech has shape {speech.shape}: one utterance is (samples,) or (samples, channels), as "
        "soundfile reads it. Transpose (channels, samples); give several utterances as a list"
    )


def utterance_seconds(speech: Utterance, sampling_rate: int | None) -> float:
    """Length as a file's header or an array's shape says it, without reading the samples.

    Of samples without a rate it is in units of 1/16,000 s; of what cannot be read, infinity.
    """
    if not isinstance(speech, (str, Path)):
        return len(speech) / (sampling_rate or 16000) if getattr(speech, "ndim", 0) else math.inf
    try:
        return read_header(str(speech)).seconds
    except (OSError, DataError):
        return math.inf
