"""Corpora of SD, ASV and QbE."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.front_end.voices import (
    RATE,
    Recording,
    Splits,
    by_speaker,
    parts,
    phrases,
    write_audio,
    write_lines,
)
from s3prl_upstream.superb.conf import EXPERT

CHUNK_FRAMES = 200
CHUNK = CHUNK_FRAMES * 160  # samples, of upstreams with 10 ms frames; half of others' chunks
TOO_SHORT = 1600  # samples; upstreams refuse chunks of less than a window
SHORTEST = 34000  # samples; ASV skips files with at most 32000 without silences


def diarization(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """SD. Two voices; the second begins while the first still speaks."""
    options: dict[str, object] = {f"{EXPERT}.datarc.chunk_size": CHUNK_FRAMES}
    for part, recordings, number in parts(splits, size):
        chooser = random.Random(part)
        voices = by_speaker(recordings)
        tables: dict[str, list[str]] = {
            name: [] for name in ("wav.scp", "segments", "utt2spk", "spk2utt", "reco2dur")
        }
        for index in range(number):
            name = f"mixture{index:04d}"
            speakers = chooser.sample(sorted(voices), 2)
            first, second = (chooser.choice(voices[speaker]).samples() for speaker in speakers)
            onset = round(len(first) * chooser.uniform(0.5, 0.9))
            mixture = np.zeros(max(len(first), onset + len(second)), np.float32)
            mixture[: len(first)] += first
            mixture[onset : onset + len(second)] += second
            rest = len(mixture) % CHUNK
            if rest < TOO_SHORT:
                mixture = mixture[: len(mixture) - rest]
            path = root / "wavs" / part / f"{name}.wav"
            write_audio(path, 0.7 * mixture)
            tables["wav.scp"].append(f"{name} {path.absolute()}")
            tables["reco2dur"].append(f"{name} {len(mixture) / RATE:.4f}")
            ends = (min(end, len(mixture)) for end in (len(first), onset + len(second)))
            spans = zip((0, onset), ends, strict=True)
            for speaker, (start, end) in zip(speakers, spans, strict=True):
                utterance = f"{speaker}-{name}"
                tables["segments"].append(f"{utterance} {name} {start / RATE:.3f} {end / RATE:.3f}")
                tables["utt2spk"].append(f"{utterance} {speaker}")
                tables["spk2utt"].append(f"{speaker} {utterance}")
        for table, lines in tables.items():
            write_lines(root / part / table, sorted(lines))
        options[f"{EXPERT}.loaderrc.{part}_dir"] = root / part
    return options


def speaker_verification(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """ASV. Training and test have different speakers."""
    training = _long_recordings(splits["train"], root / "dev" / "wav", size, prefix="id1")
    testing = _long_recordings(splits["test"], root / "test" / "wav", size // 4, prefix="id2")
    for name, recordings in (("dev_trials.txt", training), ("test_trials.txt", testing)):
        chooser = random.Random(name)
        pairs = list(
            combinations([(s, path) for s, paths in recordings.items() for path in paths], 2)
        )
        same = [pair for pair in pairs if pair[0][0] == pair[1][0]]
        other = [pair for pair in pairs if pair[0][0] != pair[1][0]]
        number = min(len(same), len(other), 200)
        chosen = chooser.sample(same, number) + chooser.sample(other, number)
        write_lines(root / name, (f"{int(a[0] == b[0])} {a[1]} {b[1]}" for a, b in chosen))
    return {
        f"{EXPERT}.datarc.file_path": root,
        f"{EXPERT}.datarc.dev_meta_data": root / "dev_trials.txt",
        f"{EXPERT}.datarc.test_meta_data": root / "test_trials.txt",
    }


def query_by_example(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """QbE. Queries are spoken phrases, documents whole captions."""
    documents = list(splits["train"][: max(8, size // 8)])
    lists: dict[str, list[str]] = {"utterances": [], "dev": [], "eval": []}
    for recording in documents:
        write_audio(root / "Audio" / f"{recording.name}.wav", recording.samples())
        lists["utterances"].append(f"quesst/Audio/{recording.name}.wav nnenglish")
    for name, split in (("dev", "dev"), ("eval", "test")):
        for phrase in phrases(splits[split])[: max(3, size // 32)]:
            path = f"{name}_queries/{phrase.recording.name}.wav"
            write_audio(root / path, phrase.samples())
            lists[name].append(f"quesst/{path} nnenglish")
    for name, lines in lists.items():
        write_lines(root / "scoring" / f"language_key_{name}.lst", lines)
    return {f"{EXPERT}.datarc.dataset_root": root}


def _long_recordings(
    recordings: Sequence[Recording], folder: Path, size: int, *, prefix: str
) -> dict[str, list[str]]:
    """Writes pairs of a voice's captions as one file each; returns the files of each speaker."""
    speakers = by_speaker(recordings)
    written: dict[str, list[str]] = {}
    for index, own in enumerate(speakers.values()):
        speaker = f"{prefix}{index:04d}"
        written[speaker] = []
        for first, second in zip(own[::2], own[1::2], strict=False):
            if len(written[speaker]) >= max(2, size // len(speakers)):
                break
            samples = np.concatenate([first.samples(), second.samples()])
            if len(samples) >= SHORTEST:
                name = f"{speaker}/video/{len(written[speaker]):05d}.wav"
                write_audio(folder / name, samples)
                written[speaker].append(name)
    return written
