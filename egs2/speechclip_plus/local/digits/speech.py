"""Strings of digits, spoken by joining one speaker's recordings of single digits.

There is a pause before each word and at the end, as where people read a number to somebody.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
from local.shared.randomness import random_stream
from local.shared.spoken_captions import SpokenCaption

from espnet_plugin.utils.progress import progress

from .strings import picture_path, split_of, spoken, write_changed

SPEAKERS = ("george", "jackson", "lucas", "nicolas")
STRANGERS = ("theo", "yweweler")  # unseen in training
UTTERANCES = 5  # of each image
RATE = 16000
SILENCE = 0.3  # seconds that there are at most before a word, and at the end
# What training utterances vary in
SPEED = 0.15  # at most so much faster and higher, or slower and lower
TILT = 0.6  # weight of the sample before: below 0 high tones are louder, above 0 low ones
SIGNAL_TO_NOISE = (10.0, 40.0)  # dB

# (split, speaker, digit) → files; those of unseen speakers are in a split of their own
DigitFiles = Mapping[tuple[str, str, str], Sequence[Path]]
Words = list[tuple[str, float, float]]  # word, start and end in seconds


@dataclass(frozen=True)
class SpokenSet:
    """What a set's utterances say, and of what they are made.

    Attributes:
        captions: The spoken captions.
        words: Words of each utterance with their times.
        recordings: Names of the recordings that each utterance is put together from.
    """

    captions: list[SpokenCaption] = field(default_factory=list)
    words: dict[str, Words] = field(default_factory=dict)
    recordings: dict[str, list[str]] = field(default_factory=dict)


def join(
    files: Sequence[Path], words: Sequence[str], pauses: Sequence[float], *, speed: float
) -> tuple[np.ndarray, Words]:
    """Join several recordings to one waveform, and say when each word is spoken.

    Args:
        files: Paths of the recordings.
        words: Word that is said in each of them.
        pauses: Seconds of silence before each of them, and at the end.
        speed: Factor by which they are played faster; 1.1 is a tenth faster and higher.

    Returns:
        The samples at 16 kHz, (samples,), and each word with its start and end in seconds.
    """
    silences = [np.zeros(round(seconds * RATE), np.float32) for seconds in pauses]
    parts, timed, end = [silences[0]], [], len(silences[0]) / RATE
    for file, word, silence in zip(files, words, silences[1:], strict=True):
        samples, rate = soundfile.read(file, dtype="float32")
        spoken_word = soxr.resample(samples, rate * speed, RATE)
        parts += [spoken_word, silence]
        timed.append((word, end, end + len(spoken_word) / RATE))
        end += (len(spoken_word) + len(silence)) / RATE
    return np.concatenate(parts), timed


def vary(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The samples as through another microphone in another room, (samples,)."""
    varied = samples + rng.uniform(-TILT, TILT) * np.concatenate(([0.0], samples[:-1]))
    loudness = np.sqrt(np.mean(varied**2))
    noise = rng.standard_normal(len(samples)) * 10 ** (-rng.uniform(*SIGNAL_TO_NOISE) / 20)
    return varied + loudness * noise


def draw_recordings(
    name: str, string: str, recordings: DigitFiles, rng: np.random.Generator
) -> list[tuple[str, list[Path]]]:
    """Draw a speaker for each utterance of a string, and a recording for each of its digits.

    No two utterances are made of the same recordings.
    """
    split = name if name == "strangers" else split_of(name)
    speakers = STRANGERS if name == "strangers" else SPEAKERS
    drawn: list[tuple[str, list[Path]]] = []
    while len(drawn) < UTTERANCES:
        speaker = speakers[rng.integers(len(speakers))]
        pools = [recordings[split, speaker, digit] for digit in string]
        utterance = speaker, [pool[rng.integers(len(pool))] for pool in pools]
        if utterance not in drawn:
            drawn.append(utterance)
    return drawn


def speak(
    name: str, strings: Sequence[str], recordings: DigitFiles, folder: Path, *, seed: int
) -> SpokenSet:
    """Write ``wavs/<utterance>.wav`` of a set: five utterances of each string's image."""
    rng = random_stream(seed, f"{name} speech")
    train = split_of(name) == "train"
    made = SpokenSet()
    for string in progress(strings, description=f"speech of {name}", unit="image"):
        image = picture_path(folder, name, string)
        for number, (speaker, files) in enumerate(draw_recordings(name, string, recordings, rng)):
            speed = 1.0 + rng.uniform(-SPEED, SPEED) if train else 1.0
            pause = rng.uniform(0.0, SILENCE, len(files) + 1)
            utterance = f"{name}_{string}_{number}"
            path = folder / "wavs" / f"{utterance}.wav"
            samples, made.words[utterance] = join(files, spoken(string).split(), pause, speed=speed)
            made.recordings[utterance] = [file.stem for file in files]
            if train:
                samples = vary(samples, rng)
            samples /= max(1.0, np.abs(samples).max())
            file = io.BytesIO()
            soundfile.write(file, samples, RATE, format="WAV")
            write_changed(path, file.getvalue())
            made.captions.append(
                SpokenCaption(
                    name, utterance, image.stem, str(path), str(image), speaker, spoken(string)
                )
            )
    return made
