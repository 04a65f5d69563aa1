"""Data sets of phoneme recognition and slot filling for s3prl's ctc task.

The task calls ``Dataset(split, tokenizer, bucket_size, **corpus)`` with the ``corpus`` section of
its configuration. An item is (path, token ids), or for ``bucket_size`` > 1 a list of that many, of
similar length.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

logger = logging.getLogger(__name__)

Item = tuple[Path, list[int]]


class BucketedDataset(Dataset):
    """Utterances sorted by length; an item is one of them, or a window of neighbours.

    Args:
        items: Path and token ids of each utterance.
        bucket_size: Number of utterances per item.

    Raises:
        ValueError: If there are no items.
    """

    def __init__(self, items: Iterable[Item], bucket_size: int) -> None:
        self.items = sorted(items, key=lambda item: (-len(item[1]), str(item[0])))
        if not self.items:
            raise ValueError(
                f"{type(self).__name__}: no utterance with a transcript; check corpus.path and the "
                "splits in the configuration"
            )
        self.bucket_size = bucket_size

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Item | list[Item]:
        if self.bucket_size == 1:
            return self.items[index]
        start = min(index, max(0, len(self.items) - self.bucket_size))
        return self.items[start : start + self.bucket_size]


class LibriPhoneDataset(BucketedDataset):
    """LibriSpeech, transcribed with the phones of a lexicon.

    Args:
        split: Folders of LibriSpeech, e.g. train-clean-100.
        tokenizer: s3prl's tokenizer of mode "word", for which a phone is a word.
        bucket_size: Number of utterances per item.
        path: Root folder of LibriSpeech.
        lexicon: Files of lines ``WORD PHONE PHONE ...``; the first pronunciation counts.
    """

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Any,
        bucket_size: int,
        *,
        path: str,
        lexicon: Sequence[str],
        **_: Any,
    ) -> None:
        phones = read_lexicon(lexicon)
        items, unknown = [], 0
        for folder in split:
            for audio, words in librispeech_utterances(Path(path) / folder):
                if any(word not in phones for word in words):
                    unknown += 1
                    continue
                text = " ".join(phone for word in words for phone in phones[word])
                items.append((audio, tokenizer.encode(text)))
        if unknown:
            logger.warning(f"utterances that the lexicon lacks words of, skipped: {unknown}")
        super().__init__(items, bucket_size)


class SnipsDataset(BucketedDataset):
    """Audio SNIPS, with words and slots.

    Args:
        split: Folders of the corpus, e.g. train.
        tokenizer: s3prl's tokenizer of mode "character-slot".
        bucket_size: Number of utterances per item.
        path: Root folder with ``<split>/<Speaker>-....wav`` and ``all.iob.snips.txt``, whose lines
            are ``id BOS words EOS<tab>O tags intent``.
        corpus: ``<folder>_speakers`` has the names with which file names begin; by default all.
    """

    def __init__(
        self,
        split: Sequence[str],
        tokenizer: Any,
        bucket_size: int,
        *,
        path: str,
        **corpus: Any,
    ) -> None:
        transcripts = read_snips(Path(path) / "all.iob.snips.txt")
        items = []
        for folder in split:
            speakers = corpus.get(f"{folder}_speakers")
            for audio in sorted((Path(path) / folder).rglob("*.wav")):
                if speakers and audio.stem.split("-")[0] not in speakers:
                    continue
                if audio.stem in transcripts:
                    items.append((audio, tokenizer.encode(transcripts[audio.stem])))
        super().__init__(items, bucket_size)


def read_lexicon(paths: str | Sequence[str]) -> dict[str, list[str]]:
    """Reads the phones, with stress, of each upper-case word.

    Raises:
        FileNotFoundError: If a file is missing.
    """
    phones: dict[str, list[str]] = {}
    for path in [paths] if isinstance(paths, str) else paths:
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"{path}: no such lexicon; name librispeech-lexicon.txt of openslr.org/11 as "
                "corpus.lexicon"
            )
        for line in _lines(Path(path)):
            word, *pronunciation = line.split()
            phones.setdefault(word.upper(), pronunciation)
    return phones


def librispeech_utterances(folder: Path) -> list[tuple[Path, list[str]]]:
    """Finds audio file and upper-case words of each utterance below a folder of LibriSpeech.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of LibriSpeech")
    utterances = []
    for transcripts in sorted(folder.rglob("*.trans.txt")):
        for line in _lines(transcripts):
            name, *words = line.split()
            audio = transcripts.parent / f"{name}.flac"
            if audio.is_file():
                utterances.append((audio, [word.upper() for word in words]))
    return utterances


def read_snips(path: Path) -> dict[str, str]:
    """Reads text and tags of each utterance, as s3prl's slot tokenizer takes them.

    Words become upper-case; tags lose a leading ``B-`` or ``I-``.
    """
    transcripts = {}
    for line in _lines(path):
        name, _, rest = line.partition(" ")
        text, _, tags = rest.partition("\t")
        plain = " ".join(tag.removeprefix("B-").removeprefix("I-") for tag in tags.split(" "))
        transcripts[name] = f"{text.upper()}\t{plain}"
    return transcripts


def _lines(path: Path) -> list[str]:
    # str.splitlines would also cut at U+2028, U+0085 and more
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
