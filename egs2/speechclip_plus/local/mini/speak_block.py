"""Synthesise one block of the corpus in a process of its own (see ``speech.Synthesiser``)."""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path

import numpy as np

from espnet_plugin.utils.atomic import atomic_path, write_text

from .speech import SAMPLING_RATE, SpokenCaption, Synthesiser


def speak_block(job: Path, result: Path, wavs: Path) -> None:
    """Write a WAV file per utterance of ``job``, then the words of all of them to ``result``."""
    engine = Synthesiser()
    words = {}
    for item in json.loads(job.read_text(encoding="utf-8")):
        caption = SpokenCaption(**item)
        samples, spoken = engine.speak(caption)
        _write_wav(wavs / f"{caption.utterance_id}.wav", samples)
        words[caption.utterance_id] = [(w.text, w.start, w.end) for w in spoken]
    write_text(result, json.dumps(words))


def _write_wav(path: Path, samples: np.ndarray) -> None:
    with atomic_path(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes(samples.astype("<i2").tobytes())


if __name__ == "__main__":
    speak_block(*map(Path, sys.argv[1:4]))
