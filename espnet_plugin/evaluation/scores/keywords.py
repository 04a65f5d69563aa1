"""All keyword scores of one data set, as one nested dictionary."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from espnet_plugin.data.alignments import AlignmentError, Word
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.keywords import KeywordScores, score_keywords
from espnet_plugin.evaluation.segmentation import (
    count_boundaries,
    count_tokens,
    score_localization,
    score_segmentation,
)
from espnet_plugin.evaluation.statistics import bootstrap_mean
from espnet_plugin.evaluation.token_texts import clip_tokenizer, read_token_list

FIELD_TOLERANCE = 0.02  # seconds, of boundaries and tokens in vqwordseg's tables


def load_token_texts(token_list: str | Path | None = None) -> dict[int, str]:
    """Texts of CLIP's whole vocabulary, the token list's over them."""
    listed = {} if token_list is None else read_token_list(token_list)
    return clip_tokenizer().decoder | listed


def keyword_scores(
    utterances: Sequence[UtteranceKeywords],
    texts: Mapping[int, str],
    *,
    image_of: Mapping[str, str] | None = None,
    words: Mapping[str, Sequence[Word]] | None = None,
    tolerance: float = 0.05,
    samples: int = 1000,
    seed: int = 0,
) -> dict:
    """Scores keywords, and their places where word alignments are given.

    Args:
        utterances: What ``read_keywords`` returns.
        texts: Text of every token id that occurs.
        image_of: Image of each utterance, the unit of the bootstrap; without it utterances are.
        words: Word alignment of each utterance.
        tolerance: Of boundaries, in seconds.
        samples: Bootstrap resamples; 0 leaves the intervals out.
        seed: Seed of the resampling.

    Returns:
        The measures of ``score_keywords``, and ``left_out``, ``intervals``, ``localization``,
        ``boundaries`` within ``tolerance``, ``boundaries_20ms`` and ``tokens_20ms``.

    Raises:
        AlignmentError: No utterance has an alignment.
        ValueError: As ``score_keywords``.
    """
    scores = score_keywords(utterances, texts)
    result = _flat(scores)
    if samples:
        ids = [image_of[u] if image_of else u for u in scores.utterances]
        result["intervals"] = {
            name: bootstrap_mean(column, ids, samples=samples, seed=seed)
            for name, column in scores.values.items()
        }
    if words is not None and any(k.start is not None for u in utterances for k in u.keywords):
        if not any(u.utterance in words for u in utterances):
            raise AlignmentError(
                "no utterance of the alignment is in keywords.jsonl: do ids match?"
            )
        result["localization"] = dataclasses.asdict(score_localization(utterances, words, texts))
        boundaries = partial(count_boundaries, utterances, words)
        for name, count, within in (
            ("boundaries", boundaries, tolerance),
            ("boundaries_20ms", boundaries, FIELD_TOLERANCE),
            ("tokens_20ms", partial(count_tokens, utterances, words), FIELD_TOLERANCE),
        ):
            found = score_segmentation(count(tolerance=within), within)
            result[name] = dataclasses.asdict(found)
    return result


def _flat(scores: KeywordScores) -> dict:
    means = {
        name: None if math.isnan(value) else value for name, value in sorted(scores.means.items())
    }
    return {**means, "utterances": len(scores.utterances), "left_out": scores.left_out}
