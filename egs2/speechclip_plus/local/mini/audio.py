"""Batches of the corpus' own WAV files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from espnet_plugin.teachers.speech_batch import SpeechBatch, padded_batch

_POOL = 8  # batches' worth of utterances that are sorted together


def load_batch(wavs: Path, utterance_ids: Sequence[str]) -> SpeechBatch:
    """Read utterances; each is brought to zero mean and unit variance, as ``do_normalize`` does."""
    samples = [soundfile.read(wavs / f"{i}.wav", dtype="float32")[0] for i in utterance_ids]
    return padded_batch([(x - x.mean()) / np.sqrt(x.var() + 1e-7) for x in samples])


def length_batches(
    sizes: Mapping[str, int], batch_size: int, rng: np.random.Generator
) -> Iterator[list[str]]:
    """Yield batches of utterances of similar size for ever, reshuffled every pass.

    Args:
        sizes: Size in bytes of each utterance's file.
        batch_size: Number of utterances of a batch.
        rng: Source of randomness.
    """
    ids = list(sizes)
    while True:
        order = [ids[index] for index in rng.permutation(len(ids))]
        for begin in range(0, len(order), batch_size * _POOL):
            members = sorted(order[begin : begin + batch_size * _POOL], key=sizes.__getitem__)
            groups = [members[k : k + batch_size] for k in range(0, len(members), batch_size)]
            for index in rng.permutation(len(groups)):
                yield groups[index]
