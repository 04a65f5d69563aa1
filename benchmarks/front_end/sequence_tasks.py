"""Corpora of tasks whose target is a sequence: PR, ASR, SF."""

from __future__ import annotations

from pathlib import Path

from benchmarks.front_end.voices import (
    LEXICON,
    Splits,
    by_speaker,
    parts,
    phrases,
    write_audio,
    write_csv,
    write_lines,
)
from s3prl_upstream.superb.conf import EXPERT

CHAPTER = 1


def phone_recognition(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """PR."""
    _librispeech(splits, root, size)
    return {f"{EXPERT}.corpus.path": root, f"{EXPERT}.corpus.lexicon": [str(LEXICON)]}


def speech_recognition(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """ASR."""
    _librispeech(splits, root, size)
    return {
        f"{EXPERT}.datarc.libri_root": root,
        f"{EXPERT}.datarc.bucket_file": root / "len_for_bucket",
        **_for_a_cpu("modelrc"),
    }


def slot_filling(splits: Splits, root: Path, size: int) -> dict[str, object]:
    """SF. "a red snake" has the slots object_select, red, and object_name, snake."""
    lines = []
    folders = ("train", "valid", "test")
    for part, recordings, number in parts(splits, size, folders):
        for phrase in phrases(recordings)[:number]:
            speaker = phrase.recording.speaker.replace("+", "").replace("-", "")
            name = f"{speaker}-{phrase.recording.name}"
            write_audio(root / part / f"{name}.wav", phrase.samples())
            text = f"BOS {phrase.colour} {phrase.thing} EOS"
            lines.append(f"{name} {text}\tO object_select object_name Describe")
    write_lines(root / "all.iob.snips.txt", lines)
    everyone = {f"{EXPERT}.corpus.{part}_speakers": None for part in folders}
    return {f"{EXPERT}.corpus.path": root, **everyone, **_for_a_cpu("model")}


def _for_a_cpu(model: str) -> dict[str, object]:
    """Smaller recurrent layers, and masks for the few dimensions of a small encoder."""
    sizes = {"project_dim": 256, "RNNs.dim": [256, 256]}
    augmentation = {
        "apply_time_warp": False,
        "apply_time_mask": False,
        "freq_mask_width_range": [0, 8],
        "num_freq_mask": 2,
    }
    return {
        **{f"{EXPERT}.{model}.{key}": value for key, value in sizes.items()},
        **{f"config.specaug.{key}": value for key, value in augmentation.items()},
    }


def _librispeech(splits: Splits, root: Path, size: int) -> None:
    folders = ("train-clean-100", "dev-clean", "test-clean")
    for part, all_recordings, number in parts(splits, size, folders):
        lengths = []
        chosen = by_speaker(all_recordings[:number])
        for speaker, recordings in enumerate(chosen.values(), start=100):
            folder = f"{part}/{speaker}/{CHAPTER}"
            transcripts = []
            for index, recording in enumerate(recordings):
                name = f"{speaker}-{CHAPTER}-{index:04d}"
                samples = recording.samples()
                write_audio(root / folder / f"{name}.flac", samples)
                transcripts.append(f"{name} {recording.text.upper()}")
                lengths.append((f"{folder}/{name}.flac", len(samples)))
            write_lines(root / folder / f"{speaker}-{CHAPTER}.trans.txt", transcripts)
        write_csv(root / "len_for_bucket" / f"{part}.csv", [("file_path", "length"), *lengths])
