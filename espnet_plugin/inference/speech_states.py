"""Hidden states of the frozen speech encoder, stored once for training."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial

import numpy as np
import soundfile
import torch
from torch import Tensor

from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.data.frame_store import CHECKSUM_BYTES, FILE_BYTES, FRAMES
from espnet_plugin.inference.batches import batches_by_length
from espnet_plugin.inference.dump import ReadFiles, dump_arrays
from espnet_plugin.media.audio import checked_speech
from espnet_plugin.teachers.quantized_states import quantize_states, state_dimensions
from espnet_plugin.teachers.speech_batch import padded_batch
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder, to_half

DIMENSIONS = "dimensions"
DIMENSIONS_SECONDS = 60
HEADER = 512  # bytes, at most


def stored_size(samples: Mapping[str, int], encoder: FrozenSpeechEncoder, *, dtype: str) -> int:
    """Upper bound of the bytes of the hidden states of utterances.

    It counts a frame or two too many for each utterance: an upstream of s3prl must run to give
    their exact number.

    Args:
        samples: Number of samples of each utterance.
        encoder: The frozen encoder.
        dtype: Type in which states are stored, ``int8`` or ``float16``.
    """
    if not samples:
        return 0
    frames = sum(-(-count // encoder.stride) for count in samples.values())
    layers, dim = encoder.num_layers, encoder.dim
    row, shared = layers * dim * 2, 0
    if dtype == "int8":
        row, shared = layers * (dim + 2), 2 * layers * dim * 4
    size = frames * (row + CHECKSUM_BYTES)
    return size + (size // FILE_BYTES + 1) * (shared + HEADER)


def dump_speech_states(
    wavs: Mapping[str, str],
    samples: Mapping[str, int],
    encoder: FrozenSpeechEncoder,
    store: ArrayStore,
    *,
    whole_set: Mapping[str, str] | None = None,
    dtype: str = "float16",
    batch_seconds: float = 60.0,
) -> dict[str, str]:
    """Stores the hidden states of the utterances that have none yet.

    Args:
        wavs: File of each utterance, mono at the encoder's rate.
        samples: Number of samples of each utterance.
        encoder: The frozen encoder.
        store: Store that the states go to, in the form of :class:`Encode`.
        whole_set: All utterances, if ``wavs`` is a job's part; codes are the same in every job.
        dtype: Type in which states are stored, ``int8`` or ``float16``.
        batch_seconds: Largest number of seconds of audio in a batch, padding included.

    Returns:
        The reason for each utterance that was unreadable and skipped.
    """
    todo = {key: samples[key] for key in store.missing(wavs)}
    encode = Encode(encoder, dtype, wavs if whole_set is None else whole_set)
    return dump_arrays(
        wavs,
        store,
        batches=batches_by_length(todo, batch_seconds * encoder.sampling_rate),
        read=partial(read_speech, sampling_rate=encoder.sampling_rate),
        encode=encode,
        what="utterances",
        smaller="--batch_seconds; a single one is cut, or left out, in stage 1",
    )


def read_speech(path: str, sampling_rate: int) -> np.ndarray:
    """Reads the samples of a mono file, in [-1, 1], (samples,).

    Raises:
        ValueError: If the rate is another one, or there are several channels, no samples, or NaN.
    """
    speech, rate = soundfile.read(path, dtype="float32")
    if rate != sampling_rate:
        raise ValueError(f"sampling rate is {rate} Hz, not {sampling_rate} (stage 2 resamples)")
    return checked_speech(speech)


class Encode:
    """Encodes a batch of utterances for storing.

    Args:
        encoder: The frozen encoder.
        dtype: ``float16`` gives ``frames`` (frames, layers + 1, dim). ``int8`` gives them as codes,
            with their ``scale`` (frames, layers + 1) and, the same for all, their ``dimensions``
            (2, layers + 1, dim), see ``teachers/quantized_states.py``.
        wavs: Recordings that the dimensions are computed from.
    """

    def __init__(self, encoder: FrozenSpeechEncoder, dtype: str, wavs: Mapping[str, str]) -> None:
        self.encoder = encoder
        self.dtype = dtype
        self.wavs = wavs

    @cached_property
    def dimensions(self) -> np.ndarray:
        """Mean and deviation over a minute of speech, which is the same in every job."""
        read = partial(read_speech, sampling_rate=self.encoder.sampling_rate)
        order = sorted(self.wavs, key=lambda key: zlib.crc32(key.encode("utf-8", "surrogatepass")))
        parts: list[Tensor] = []
        left = DIMENSIONS_SECONDS * self.encoder.sampling_rate
        for _, speech in map(ReadFiles(self.wavs, read).__getitem__, order):
            if left <= 0:
                break
            if not isinstance(speech, ValueError):
                frames = frames_of(self.encoder, [speech])[0]
                if frames.isfinite().all():
                    parts.append(frames)
                    left -= len(speech)
        return state_dimensions(torch.cat(parts)).cpu().numpy()

    def __call__(self, speech: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Encodes utterances, (samples,) each."""
        frames, lengths = frames_of(self.encoder, speech)
        if self.dtype == "float16":
            return [{FRAMES: part.numpy()} for part in to_half(frames).cpu().split(lengths)]
        dimensions = self.dimensions
        quantized = quantize_states(frames, torch.from_numpy(dimensions).to(frames.device))
        parts = zip(
            quantized.codes.cpu().split(lengths), quantized.scale.cpu().split(lengths), strict=True
        )
        return [
            {FRAMES: codes.numpy(), "scale": scale.numpy(), DIMENSIONS: dimensions}
            for codes, scale in parts
        ]


@torch.no_grad()
def frames_of(
    encoder: FrozenSpeechEncoder, speech: Sequence[np.ndarray]
) -> tuple[Tensor, list[int]]:
    """Hidden states of utterances, one after the other, (frames, layers + 1, dim), and the number
    of frames of each."""
    device = next(encoder.parameters()).device
    batch = padded_batch(speech).to(device)
    states = encoder(batch.waveforms, batch.lengths)
    frames = states.lengths.tolist()
    hidden = states.hidden_states.transpose(1, 2)  # (batch, frames, layers + 1, dim)
    return torch.cat([hidden[row, :number] for row, number in enumerate(frames)]), frames
