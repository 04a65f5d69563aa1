"""Read and write word alignments in Kaldi's CTM format.

Utterances with a damaged alignment are left out and counted in a warning, because half an alignment
would shift the scores. A file without an intact alignment is an error.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from espnet_plugin.data.scp import columns, text_lines
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.utils.errors import DataError

SILENCES = frozenset({"", "sil", "sp", "spn", "<eps>", "<sil>", "<unk>"})


class AlignmentError(DataError):
    """Word alignments that cannot be used."""


def ctm_text(
    utterances: Iterable[str], words: Mapping[str, Iterable[tuple[str, float, float]]]
) -> str:
    """Text of a Kaldi CTM.

    Args:
        utterances: Ids of the utterances, in the order of the text.
        words: Word, start and end in seconds of each utterance's words.
    """
    return "".join(
        f"{utterance} 1 {start:.3f} {end - start:.3f} {word}\n"
        for utterance in utterances
        for word, start, end in words[utterance]
    )


def read_ctm(path: str | Path) -> dict[str, list[SpokenWord]]:
    """Reads a Kaldi CTM, with ``utterance channel start duration word [confidence]`` in a line.

    Raises:
        FileNotFoundError: If there is no such file.
        AlignmentError: If no utterance is intact; names file, line and what is wrong.
        DataError: If it is not UTF-8.
    """
    words: dict[str, list[SpokenWord]] = {}
    damaged: dict[str, str] = {}
    for number, line in text_lines(path):
        if not line.strip() or line.startswith(";;"):
            continue
        utterance, *fields = columns(line)
        try:
            word = _ctm_word(fields)
        except (IndexError, ValueError):
            damaged.setdefault(
                utterance,
                f"{path}:{number}: expected 'utterance channel start duration word', "
                f"found {line[:80]!r}",
            )
            continue
        spoken = words.setdefault(utterance, [])
        if word.word.casefold() not in SILENCES:
            spoken.append(word)
    intact = {
        u: sorted(spoken, key=lambda word: word.span[0])
        for u, spoken in words.items()
        if u not in damaged
    }
    _report_damaged(damaged, len(intact))
    return {utterance: spoken for utterance, spoken in intact.items() if spoken}


def _ctm_word(fields: list[str]) -> SpokenWord:
    start, duration, text = float(fields[1]), float(fields[2]), fields[3]
    if not (math.isfinite(start) and 0 <= duration < math.inf):
        raise ValueError(f"a word of {duration} s at {start} s")
    return SpokenWord(text, start=start, end=start + duration)


def _report_damaged(damaged: Mapping[str, str], num_intact: int) -> None:
    if not damaged:
        return
    first = next(iter(damaged.values()))
    if not num_intact:
        raise AlignmentError(f"no utterance has an intact word alignment: {first}")
    logging.warning(
        f"utterances left out of the word alignments: {len(damaged)}, kept: {num_intact}; "
        f"the first: {first}"
    )
