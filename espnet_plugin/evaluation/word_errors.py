"""The word error rate of a recogniser's transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from espnet_plugin.evaluation.token_texts import split_words


def word_errors(reference: Sequence[str], transcript: Sequence[str]) -> int:
    """Fewest substitutions, insertions and deletions that turn one word sequence into another."""
    costs = np.arange(len(transcript) + 1)
    for word in reference:
        kept = costs[:-1] + np.array([word != other for other in transcript], dtype=int)
        best = np.minimum(np.concatenate([[costs[0] + 1], kept]), costs + 1)
        # an insertion follows whatever is cheapest before it
        places = np.arange(len(best))
        costs = np.minimum.accumulate(best - places) + places
    return int(costs[-1])


def word_error_rate(references: Mapping[str, str], transcripts: Mapping[str, str]) -> float:
    """Word errors of all utterances over the number of words of all references.

    Words are compared without case and punctuation. Without a transcript, all words are errors.

    Args:
        references: Caption of each utterance.
        transcripts: Transcript of each utterance.

    Raises:
        ValueError: If the references have no word.
    """
    errors = words = 0
    for utterance, text in references.items():
        reference = split_words(text)
        errors += word_errors(reference, split_words(transcripts.get(utterance, "")))
        words += len(reference)
    if not words:
        raise ValueError("the references hold no word")
    return errors / words
