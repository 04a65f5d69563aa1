"""Corpora of tasks whose target is a sequence: PR, ASR, SF."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from s3prl_upstream.superb.small.lexicon import PRONUNCIATIONS
from s3prl_upstream.superb.small.voices import Recording, by_speaker, phrases, write_audio

Splits = Mapping[str, Sequence[Recording]]
DOWNSTREAM = "config.downstream_expert"
CHAPTER = 1


def phone_recognition(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """PR."""
    _librispeech(splits, root, size)
    lexicon = root / "lexicon.txt"
    lexicon.write_text(
        "".join(f"{word.upper()} {phones}\n" for word, phones in PRONUNCIATIONS.items())
    )
    return {f"{DOWNSTREAM}.corpus.path": root, f"{DOWNSTREAM}.corpus.lexicon": [str(lexicon)]}


def speech_recognition(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """ASR."""
    _librispeech(splits, root, size)
    return {
        f"{DOWNSTREAM}.datarc.libri_root": root,
        f"{DOWNSTREAM}.datarc.bucket_file": root / "len_for_bucket",
        **_for_a_cpu("modelrc"),
    }


def slot_filling(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """SF. "a red snake" has the slots object_select, red, and object_name, snake."""
    lines = []
    parts = {"train": ("train", size), "valid": ("dev", size // 4), "test": ("test", size // 4)}
    for part, (split, number) in parts.items():
        for phrase in phrases(splits[split])[:number]:
            speaker = phrase.recording.speaker.replace("+", "").replace("-", "")
            name = f"{speaker}-{phrase.recording.name}"
            write_audio(root / part / f"{name}.wav", phrase.samples())
            text = f"BOS {phrase.colour} {phrase.thing} EOS"
            lines.append(f"{name} {text}\tO object_select object_name Describe\n")
    (root / "all.iob.snips.txt").write_text("".join(lines))
    everyone = {f"{DOWNSTREAM}.corpus.{part}_speakers": None for part in parts}
    return {f"{DOWNSTREAM}.corpus.path": root, **everyone, **_for_a_cpu("model")}


def _for_a_cpu(model: str) -> dict[str, object]:
    """Smaller recurrent layers, and masks that leave something of a small encoder's dimensions."""
    sizes = {"project_dim": 256, "RNNs.dim": [256, 256]}
    augmentation = {
        "apply_time_warp": False,
        "apply_time_mask": False,
        "freq_mask_width_range": [0, 8],
        "num_freq_mask": 2,
    }
    return {
        **{f"{DOWNSTREAM}.{model}.{key}": value for key, value in sizes.items()},
        **{f"config.specaug.{key}": value for key, value in augmentation.items()},
    }


def _librispeech(splits: Splits, root: Path, size: int) -> None:
    parts = {
        "train-clean-100": ("train", size),
        "dev-clean": ("dev", size // 4),
        "test-clean": ("test", size // 4),
    }
    for part, (split, number) in parts.items():
        lengths = []
        chosen = by_speaker(splits[split][:number])
        for speaker, recordings in enumerate(chosen.values(), start=100):
            folder = f"{part}/{speaker}/{CHAPTER}"
            transcripts = []
            for index, recording in enumerate(recordings):
                name = f"{speaker}-{CHAPTER}-{index:04d}"
                samples = recording.samples()
                write_audio(root / folder / f"{name}.flac", samples)
                transcripts.append(f"{name} {recording.text.upper()}\n")
                lengths.append((f"{folder}/{name}.flac", len(samples)))
            path = root / folder / f"{speaker}-{CHAPTER}.trans.txt"
            path.write_text("".join(transcripts))
        table = root / "len_for_bucket" / f"{part}.csv"
        table.parent.mkdir(exist_ok=True)
        with open(table, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file_path", "length"), *lengths])
