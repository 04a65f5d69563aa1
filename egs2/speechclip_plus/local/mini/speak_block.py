"""Synthesise one block of the corpus in a process of its own (see ``speech.Synthesiser``)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import soundfile

from espnet_plugin.utils.atomic import atomic_path, write_text

from .speech import SAMPLING_RATE, SpokenCaption, Synthesiser


def speak_block(job: Path, result: Path, wavs: Path) -> None:
    """Write a WAV file per utterance of ``job``, then the words of all of them to ``result``."""
    engine = Synthesiser()
    words = {}
    for item in json.loads(job.read_text(encoding="utf-8")):
        caption = SpokenCaption(**item)
        samples, spoken = engine.speak(caption)
        with atomic_path(wavs / f"{caption.utterance_id}.wav") as temporary:
            soundfile.write(temporary, samples, SAMPLING_RATE, subtype="PCM_16")
        words[caption.utterance_id] = [(w.text, w.start, w.end) for w in spoken]
    write_text(result, json.dumps(words))


if __name__ == "__main__":
    speak_block(*map(Path, sys.argv[1:4]))
