"""Hidden states of the frozen speech encoder, so that training need not run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import soundfile
import torch

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.inference.batches import batches_by_length
from espnet_plugin.inference.dump import dump_arrays
from espnet_plugin.speechclip.backends.waveform import checked_speech
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder

BYTES_PER_VALUE = 2  # fp16
NPY_HEADER = 128
HALF_MAX = float(np.finfo(np.float16).max)


def stored_size(samples: Mapping[str, int], encoder: FrozenSpeechEncoder) -> int:
    """Bytes that the hidden states of utterances of so many samples take."""
    if not samples:
        return 0
    frames = encoder.frame_lengths(torch.tensor(list(samples.values())))
    values = int(frames.sum()) * encoder.num_layers * encoder.dim
    return values * BYTES_PER_VALUE + NPY_HEADER * len(samples)


def dump_speech_states(
    wavs: Mapping[str, str],
    samples: Mapping[str, int],
    encoder: FrozenSpeechEncoder,
    store: ArrayStore,
    *,
    batch_seconds: float = 60.0,
) -> dict[str, str]:
    """Stores the hidden states of the utterances that have none yet, fp16.

    Args:
        wavs: Utterance → file of mono audio at the encoder's rate.
        samples: Samples of each utterance.
        encoder: Frozen.
        store: Where (frames, layers + 1, dim) arrays go: frames first, as ESPnet pads.
        batch_seconds: Audio at a time, padding included.

    Returns:
        Utterance → reason of those that could not be read; they are skipped.
    """
    todo = {key: samples[key] for key in store.missing(wavs)}
    return dump_arrays(
        wavs,
        store,
        batches=batches_by_length(todo, batch_seconds * encoder.sampling_rate),
        read=partial(read_speech, sampling_rate=encoder.sampling_rate),
        encode=partial(encode, encoder),
        what="utterances",
        smaller="--batch_seconds; a single one is cut, or left out, in stage 1",
    )


def read_speech(path: str, sampling_rate: int) -> np.ndarray:
    """Samples of a mono file in [-1, 1], (samples,).

    Raises:
        ValueError: For another rate, several channels, no samples, or NaN.
    """
    speech, rate = soundfile.read(path, dtype="float32")
    if rate != sampling_rate:
        raise ValueError(f"sampling rate is {rate} Hz, not {sampling_rate} (stage 2 resamples)")
    return checked_speech(speech)


@torch.no_grad()
def encode(encoder: FrozenSpeechEncoder, speech: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Hidden states of each utterance, fp16, (frames, layers + 1, dim)."""
    device = next(encoder.parameters()).device
    lengths = torch.tensor([len(samples) for samples in speech])
    padded = torch.zeros(len(speech), int(lengths.max()))
    for row, samples in enumerate(speech):
        padded[row, : len(samples)] = torch.from_numpy(samples)
    states = encoder(padded.to(device), lengths.to(device))
    hidden = states.hidden_states.clamp(-HALF_MAX, HALF_MAX).half()
    hidden = hidden.transpose(1, 2).cpu()  # (batch, frames, layers + 1, dim)
    return [
        np.ascontiguousarray(hidden[row, :frames].numpy())
        for row, frames in enumerate(states.lengths.tolist())
    ]
