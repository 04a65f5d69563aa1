"""Corpora of tasks with one label per utterance: KS, IC, SID, ER.

Each function writes a corpus and returns the options (s3prl's ``-o`` keys) that name it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.front_end.voices import (
    RATE,
    Phrase,
    Recording,
    Splits,
    by_speaker,
    parts,
    phrases,
    write_audio,
    write_csv,
    write_lines,
)
from s3prl_upstream.superb.conf import EXPERT

DATARC = f"{EXPERT}.datarc"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
LARGEST_HASH = 2**27 - 1  # of Speech Commands' split


def speech_commands(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """KS. Ten other words replace the commands, which the corpus lacks."""
    things = [thing for thing, _ in _things(splits["train"]).most_common(16)]
    commands, others = dict(zip(things, KEYWORDS, strict=False)), things[len(KEYWORDS) :]
    speakers = {
        voice: speaker_id(index, is_valid=index % 4 == 0)
        for index, voice in enumerate(by_speaker(splits["train"]))
    }
    written: Counter[tuple[str, str]] = Counter()
    for phrase in phrases(splits["train"]):
        folder = commands.get(phrase.thing, phrase.thing)
        speaker = speakers[phrase.recording.speaker]
        wanted = phrase.thing in commands or phrase.thing in others
        if wanted and written[folder, speaker] * len(speakers) < size // 8:
            name = f"{speaker}_nohash_{written[folder, speaker]}.wav"
            write_audio(root / "train" / folder / name, _spoken(phrase))
            written[folder, speaker] += 1
    counts: Counter[str] = Counter()
    for phrase in phrases(splits["test"]):
        known = phrase.thing in commands
        folder = commands[phrase.thing] if known else "_unknown_"
        if counts[folder] < max(2, size // 16) and (known or phrase.thing in others):
            path = root / "test" / folder / f"{phrase.recording.name}.wav"
            write_audio(path, _spoken(phrase))
            counts[folder] += 1
    return with_noises(root)


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


def fluent_commands(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """IC. "red snake" is the action red, the object snake, at no location."""
    things = {thing for thing, _ in _things(splits["train"]).most_common(8)}
    header = ("", "path", "speakerId", "transcription", "action", "object", "location")
    for part, recordings, number in parts(splits, size, ("train", "valid", "test")):
        chosen = [phrase for phrase in phrases(recordings) if phrase.thing in things][:number]
        rows = []
        for index, phrase in enumerate(chosen):
            speaker = phrase.recording.speaker.replace("+", "_")
            path = f"wavs/speakers/{speaker}/{phrase.recording.name}.wav"
            write_audio(root / path, phrase.samples())
            text = f"{phrase.colour} {phrase.thing}"
            rows.append((index, path, speaker, text, phrase.colour, phrase.thing, "none"))
        write_csv(root / "data" / f"{part}_data.csv", [header, *rows])
    return {f"{DATARC}.file_path": root}


def voxceleb1(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """SID. Each speaker is in all parts, each caption in one."""
    speakers = by_speaker(splits["train"])
    lines = []
    for index, recordings in enumerate(speakers.values(), start=10001):
        counts = {1: size // len(speakers), 2: size // 4 // len(speakers) + 1}
        counts[3] = counts[2]
        remaining = iter(recordings)
        for part, number in counts.items():
            for _, recording in zip(range(number), remaining, strict=False):
                name = f"id{index}/{recording.name.rsplit('_', 1)[0]}/{recording.name}.wav"
                write_audio(root / "dev" / "wav" / name, recording.samples())
                lines.append(f"{part} {name}")
    (root / "test" / "wav").mkdir(parents=True)
    write_lines(root / "iden_split.txt", lines)
    return {f"{DATARC}.file_path": root, f"{DATARC}.meta_data": root / "iden_split.txt"}


def emotion(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """ER. The voices have no emotions; a change of the recording replaces each."""
    manners = {
        "neu": lambda x: x,
        "hap": lambda x: _faster(x, 1.25),
        "sad": lambda x: 0.3 * _faster(x, 0.8),
        "ang": lambda x: np.clip(8 * x, -0.7, 0.7),
    }
    labels = {name: index for index, name in enumerate(manners)}
    for part, split, number in (("train", "train", size), ("test", "test", size // 4)):
        entries = []
        for index, recording in enumerate(splits[split][:number]):
            name = list(manners)[index % len(manners)]
            path = f"Session1/sentences/wav/{part}/{recording.name}.wav"
            write_audio(root / path, manners[name](recording.samples()))
            entries.append({"path": path, "label": name, "speaker": recording.speaker})
        meta = root / "meta_data" / "Session1" / f"{part}_meta_data.json"
        write_lines(meta, [json.dumps({"labels": labels, "meta_data": entries})])
    return {
        f"{DATARC}.root": root,
        f"{DATARC}.meta_data": root / "meta_data",
        f"{DATARC}.test_fold": "fold1",
    }


def _things(recordings: Sequence[Recording]) -> Counter[str]:
    return Counter(phrase.thing for phrase in phrases(recordings))


def _spoken(phrase: Phrase) -> np.ndarray:
    """The thing alone, in one second."""
    last = next(word for word in phrase.recording.words if word.end == phrase.end)
    return one_second(phrase.recording.samples(last.start, last.end))


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


def _faster(samples: np.ndarray, factor: float) -> np.ndarray:
    """Faster and higher by resampling."""
    positions = np.arange(0, len(samples) - 1, factor)
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)
