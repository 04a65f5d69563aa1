"""All keyword scores of one data set, as one nested dictionary that becomes JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.data.alignments import AlignmentError, Word, read_ctm
from espnet_plugin.data.inference_set import KEYWORDS, UTT2IMAGE, read_inference_set
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.scp import write_scp
from espnet_plugin.evaluation.keyword_rates import best_min_score, keyword_values, keywords_above
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.segmentation import (
    count_places,
    f_values,
    inner_boundaries,
    score_localization,
    score_segmentation,
)
from espnet_plugin.evaluation.statistics import bootstrap_mean
from espnet_plugin.evaluation.token_texts import clip_tokenizer

KEYWORD_SCORES = Path("scoring") / "keywords.json"
BOUNDARY_SCORES = Path("scoring") / "boundary_f"  # a number for each utterance; their mean is F
TOLERANCE = 0.05  # seconds, of boundaries
FIELD_TOLERANCE = 0.02  # seconds, of boundaries and tokens in vqwordseg's tables


def score_keywords_directory(
    directory: str | Path,
    *,
    words_ctm: str | Path | None = None,
    chosen_on: Sequence[UtteranceKeywords] = (),
) -> dict:
    """Scores the keywords of one set and writes ``scoring/keywords.json``.

    With alignments it also writes ``scoring/boundary_f``, which the comparison of runs reads.

    Args:
        directory: The set's inference directory.
        words_ctm: Word alignments.
        chosen_on: The development set's, which decide which keywords are ``reported``.
    """
    directory, data = Path(directory), read_inference_set(directory)
    utterances = data.captioned_keywords
    if not utterances:
        raise ValueError(f"{directory / KEYWORDS}: no keywords with captions; infer with --text")
    words = None if words_ctm is None else read_ctm(words_ctm)
    unit_of = dict(zip(data.utterances, data.units(data.image_of).tolist(), strict=True))
    if unknown := [u.utterance for u in utterances if u.utterance not in unit_of]:
        raise ValueError(
            f"{directory / UTT2IMAGE}: utterances of keywords.jsonl without an image: "
            f"{len(unknown)}, the first is {unknown[0]}"
        )
    texts = clip_tokenizer().decoder
    scores = keyword_scores(utterances, texts, image_of=unit_of, words=words)
    if chosen_on:
        least = best_min_score(chosen_on, texts)
        above = keyword_values(keywords_above(least, utterances), texts)
        scores["reported"] = {"min_score": least, **_means(above)}
    (directory / BOUNDARY_SCORES).unlink(missing_ok=True)
    if words is not None and "boundaries" in scores:
        found = f_values(count_places(utterances, words, inner_boundaries, TOLERANCE))
        names = (utterance.utterance for utterance in utterances)
        write_scp(directory / BOUNDARY_SCORES, dict(zip(names, found, strict=True)))
    write_json(directory / KEYWORD_SCORES, scores)
    return scores


def _means(values: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    return {
        name: None if np.isnan(column).all() else float(np.nanmean(column))
        for name, column in sorted(values.items())
    }


def keyword_scores(
    utterances: Sequence[UtteranceKeywords],
    texts: Mapping[int, str],
    *,
    image_of: Mapping[str, str] | None = None,
    words: Mapping[str, Sequence[Word]] | None = None,
) -> dict:
    """Scores keywords, and their places where word alignments are given.

    Args:
        utterances: What ``read_keywords`` returns.
        texts: Text of every token id that occurs.
        image_of: Image of each utterance, the unit of the bootstrap; by default the utterance.
        words: Word alignment of each utterance.

    Returns:
        Means of ``keyword_values``, and ``left_out``, ``intervals``, ``localization``,
        ``boundaries`` within ``TOLERANCE``, ``boundaries_20ms`` and ``tokens_20ms``.

    Raises:
        AlignmentError: No utterance has an alignment.
        ValueError: As ``keyword_values``.
    """
    values = keyword_values(utterances, texts)
    units = [image_of[u.utterance] if image_of else u.utterance for u in utterances]
    left_out = {name: int(np.isnan(column).sum()) for name, column in values.items()}
    result: dict = _means(values)
    result |= {"utterances": len(utterances), "left_out": left_out}
    result["intervals"] = {name: bootstrap_mean(column, units) for name, column in values.items()}
    if words is not None and any(k.start is not None for u in utterances for k in u.keywords):
        if not any(u.utterance in words for u in utterances):
            raise AlignmentError(
                "no utterance of the alignment is in keywords.jsonl: do ids match?"
            )
        result["localization"] = dataclasses.asdict(score_localization(utterances, words, texts))
        for name, places, within in (
            ("boundaries", inner_boundaries, TOLERANCE),
            ("boundaries_20ms", inner_boundaries, FIELD_TOLERANCE),
            ("tokens_20ms", sorted, FIELD_TOLERANCE),
        ):
            found = score_segmentation(count_places(utterances, words, places, within), within)
            result[name] = dataclasses.asdict(found)
    return result
