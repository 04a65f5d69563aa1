"""The mini corpus as recordings of known words by known speakers."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_plugin.data.datadir import WORDS_CTM
from espnet_plugin.evaluation.alignments import Word, read_ctm

RATE = 16000
LEXICON = Path(__file__).with_name("lexicon.txt")  # ARPAbet, in LibriSpeech's format
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")


@dataclass(frozen=True)
class Recording:
    """One caption, spoken.

    Attributes:
        name: Utterance id; begins with the split, e.g. ``train_00012_3``.
        speaker: Name of the voice.
        words: In order.
        path: 16 kHz mono file.
    """

    name: str
    speaker: str
    words: tuple[Word, ...]
    path: Path

    @property
    def text(self) -> str:
        """The caption."""
        return " ".join(word.text for word in self.words)

    def samples(self, start: float = 0.0, end: float | None = None) -> np.ndarray:
        """float32 (samples,) between two times in seconds."""
        import soundfile

        stop = None if end is None else round(end * RATE)
        return soundfile.read(self.path, start=round(start * RATE), stop=stop, dtype="float32")[0]


@dataclass(frozen=True)
class Phrase:
    """A coloured thing in a recording, e.g. "red snake"."""

    recording: Recording
    colour: str
    thing: str
    start: float
    end: float

    def samples(self) -> np.ndarray:
        """float32 (samples,)."""
        return self.recording.samples(self.start, self.end)


Splits = Mapping[str, Sequence[Recording]]


def read_recordings(directory: str | Path) -> dict[str, list[Recording]]:
    """Recordings of each split (train, dev, test) of a mini corpus.

    Args:
        directory: The folder with captions.tsv, words.ctm and wavs.

    Raises:
        FileNotFoundError: If it is not a mini corpus.
    """
    directory = Path(directory)
    for name in ("captions.tsv", WORDS_CTM, "wavs"):
        if not (directory / name).exists():
            raise FileNotFoundError(
                f"{directory}: not a mini corpus, {name} is missing; make one by "
                "./run.sh --corpus mini --stop_stage 1 in egs2/speechclip_plus"
            )
    words = read_ctm(directory / WORDS_CTM)
    splits = defaultdict(list)
    with open(directory / "captions.tsv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            name = row["utterance"]
            path = directory / "wavs" / f"{name}.wav"
            recording = Recording(name, row["voice"], tuple(words.get(name, ())), path)
            splits[name.split("_")[0]].append(recording)
    return dict(splits)


def parts(
    splits: Splits, size: int, names: Sequence[str] = ("train", "dev", "test")
) -> Iterator[tuple[str, Sequence[Recording], int]]:
    """Name, recordings and number of wanted utterances of each part.

    Args:
        splits: Recordings of train, dev and test.
        size: Utterances for training; the other two get a quarter of it.
        names: The corpus's names of the three.
    """
    yield from zip(
        names,
        (splits[split] for split in ("train", "dev", "test")),
        (size, size // 4, size // 4),
        strict=True,
    )


def by_speaker(recordings: Sequence[Recording]) -> dict[str, list[Recording]]:
    """Recordings of each speaker, speakers in alphabetical order."""
    speakers: dict[str, list[Recording]] = defaultdict(list)
    for recording in recordings:
        speakers[recording.speaker].append(recording)
    return dict(sorted(speakers.items()))


def phrases(recordings: Sequence[Recording]) -> list[Phrase]:
    """The first coloured thing of each recording that has one."""
    found = []
    for recording in recordings:
        for first, second in zip(recording.words, recording.words[1:], strict=False):
            if first.text in COLOURS and second.text not in ("and", "at", "on", "in"):
                phrase = Phrase(recording, first.text, second.text, first.start, second.end)
                found.append(phrase)
                break
    return found


def write_audio(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """Writes 16-bit audio in the format of the suffix."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), rate, subtype="PCM_16")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Writes a table with commas; the first row is the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
