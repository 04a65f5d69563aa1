"""What a data directory knows of its speech: languages, words with times, their English meanings.

``text`` is what CLIP reads, so it is English. For speech of another language it is a translation.
Its words are not those of the speech, and their order may be another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espnet_plugin.data.datadir import MEANINGS_CTM, WORDS_CTM
from espnet_plugin.data.english import is_english
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.alignments import read_ctm


@dataclass(frozen=True)
class Spoken:
    """The speech of a set's utterances.

    Attributes:
        language_of: Language of each utterance; empty if nobody noted it, which counts as English.
        words: Words as they are spoken, with their times, or None without alignments.
        english: English words, with the times of what means them, or None without alignments.
    """

    language_of: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, Sequence[SpokenWord]] | None = None
    english: Mapping[str, Sequence[SpokenWord]] | None = None

    def foreign(self, utterances: Collection[str]) -> dict[str, str]:
        """Language of each of these utterances that is not spoken in English."""
        return {
            utterance: self.language_of[utterance]
            for utterance in utterances
            if utterance in self.language_of and not is_english(self.language_of[utterance])
        }


def read_spoken(directory: Path | None, *, times: bool = True) -> Spoken:
    """Reads what a data directory has of ``utt2lang`` and both alignments.

    The alignments are ``words.ctm`` and ``meanings.ctm``. Without the latter, words of English
    speech mean themselves, and those of other speech mean nothing that is known: a word that is
    spelled alike need not mean the same.

    Args:
        directory: Data directory, or None if nothing is known.
        times: Whether to read both alignments.

    Raises:
        DataError: If a file is damaged.
    """
    if directory is None:
        return Spoken()
    languages = directory / "utt2lang"
    language_of = read_scp(languages) if languages.exists() else {}
    paths = [directory / name for name in (WORDS_CTM, MEANINGS_CTM)]
    words, english = (read_ctm(path) if times and path.exists() else None for path in paths)
    if english is None and words is not None:
        foreign = Spoken(language_of).foreign(words)
        english = {name: spoken for name, spoken in words.items() if name not in foreign}
    return Spoken(language_of, words, english)
