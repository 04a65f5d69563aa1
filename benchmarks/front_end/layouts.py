"""Recordings of known words by known speakers, in the layouts of SUPERB's data sets."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml

from espnet_plugin.media.audio import read_mono
from espnet_plugin.utils.atomic import write_text
from s3prl_upstream.superb.conf import EXPERT

RATE = 16000
LEXICON = Path(__file__).with_name("lexicon.txt")  # ARPAbet, in LibriSpeech's format
DATARC = f"{EXPERT}.datarc"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
LARGEST_HASH = 2**27 - 1  # of Speech Commands' split
CHAPTER = 1


@dataclass(frozen=True)
class Recording:
    """A recording of known words.

    Attributes:
        speaker: Name of the voice.
        text: What is said.
        path: Path of the recording.
    """

    speaker: str
    text: str
    path: Path


def librispeech(parts: Mapping[str, Sequence[Recording]], root: Path) -> dict[str, object]:
    """Writes PR's data set; returns the options (s3prl's ``-o`` keys) that name it.

    Args:
        parts: Recordings of ``train-clean-100``, ``dev-clean`` and ``test-clean``.
        root: Folder of the data set.
    """
    for part, recordings in parts.items():
        speakers: dict[str, list[Recording]] = defaultdict(list)
        for recording in recordings:
            speakers[recording.speaker].append(recording)
        for number, name in enumerate(sorted(speakers), start=100):
            folder, transcripts = root / part / f"{number}" / f"{CHAPTER}", []
            for index, recording in enumerate(speakers[name]):
                utterance = f"{number}-{CHAPTER}-{index:04d}"
                write_audio(folder / f"{utterance}.flac", read_mono(str(recording.path), RATE))
                transcripts.append(f"{utterance} {recording.text.upper()}")
            write_lines(folder / f"{number}-{CHAPTER}.trans.txt", transcripts)
    return {f"{EXPERT}.corpus.path": root, f"{EXPERT}.corpus.lexicon": [str(LEXICON)]}


def with_noises(root: Path) -> dict[str, object]:
    """Adds the noises that KS needs beside the words; returns its options."""
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = 0.01 * (number + 1) * rng.standard_normal(3 * RATE)
        write_audio(root / "train" / "_background_noise_" / f"{number}.wav", noise)
        write_audio(root / "test" / "_silence_" / f"{number}.wav", noise[:RATE])
    return {
        f"{DATARC}.speech_commands_root": root / "train",
        f"{DATARC}.speech_commands_test_root": root / "test",
    }


def one_second(samples: np.ndarray) -> np.ndarray:
    """The beginning of a waveform, or all of it and silence, (RATE,)."""
    return np.pad(samples[:RATE], (0, max(0, RATE - len(samples))))


def speaker_id(index: int, *, is_valid: bool) -> str:
    """A name that Speech Commands' hash assigns to validation or training."""
    for salt in range(1000):
        name = f"{index:04x}{salt:04x}"
        digest = int(hashlib.sha1(name.encode()).hexdigest(), 16)
        percentage = digest % (LARGEST_HASH + 1) * (100 / LARGEST_HASH)
        if percentage < 10 if is_valid else percentage >= 20:
            return name
    raise RuntimeError("no such name among a thousand")


def write_data(directory: Path, tasks: Mapping[str, Mapping[str, object]]) -> Path:
    """Writes a data.yaml that names the data sets by each task's options; returns it."""
    options = {
        name: {key: str(v) if isinstance(v, Path) else v for key, v in given.items()}
        for name, given in tasks.items()
    }
    path = directory / "data.yaml"
    write_text(path, yaml.safe_dump({"tasks": options}, sort_keys=False))
    return path


def write_audio(path: Path, samples: np.ndarray) -> None:
    """Writes 16-bit audio in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), RATE, subtype="PCM_16")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
