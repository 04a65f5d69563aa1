"""All keyword scores of one data set, as one nested dictionary that becomes JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.data.inference_set import (
    KEYWORDS,
    UTT2IMAGE,
    read_inference_set,
)
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.scp import write_scp
from espnet_plugin.evaluation.alignments import AlignmentError
from espnet_plugin.evaluation.detection import (
    answers_to_text,
    given_words,
    right_places,
    score_detection,
)
from espnet_plugin.evaluation.keyword_rates import best_min_score, keyword_values, keywords_above
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.segmentation import (
    count_boundaries,
    f_values,
    score_segmentation,
)
from espnet_plugin.evaluation.spoken import Spoken
from espnet_plugin.evaluation.statistics import RecordingNames, mean_intervals
from espnet_plugin.evaluation.token_texts import clip_tokenizer

KEYWORD_SCORES = Path("scoring") / "keywords.json"
BOUNDARY_SCORES = Path("scoring") / "boundary_f"  # a number for each utterance; their mean is F
TOLERANCE = 0.05  # seconds, of boundaries
FIELD_TOLERANCE = 0.02  # seconds, of boundaries in vqwordseg's tables


def score_keywords_directory(
    directory: str | Path,
    *,
    spoken: Spoken | None = None,
    chosen_on: Sequence[UtteranceKeywords] = (),
) -> dict:
    """Scores the keywords of one set and writes ``scoring/keywords.json``.

    With alignments it also writes ``scoring/boundary_f``, which the comparison of runs reads.

    Args:
        directory: The set's inference directory.
        spoken: What its data directory says about the speech, or None if it says nothing.
        chosen_on: The development set's keywords, which decide what is ``reported``.
    """
    directory, data = Path(directory), read_inference_set(directory)
    spoken = spoken or Spoken()
    utterances = data.captioned_keywords
    if not utterances:
        raise ValueError(f"{directory / KEYWORDS}: no keywords with captions; infer with --text")
    image_of = dict(zip(data.utterances, data.image_of, strict=True))
    if unknown := [u.utterance for u in utterances if u.utterance not in image_of]:
        raise ValueError(
            f"{directory / UTT2IMAGE}: utterances of keywords.jsonl without an image: "
            f"{len(unknown)}, the first is {unknown[0]}"
        )
    texts = clip_tokenizer().decoder
    recordings = data.recordings_of(u.utterance for u in utterances)
    scores = keyword_scores(
        utterances, texts, image_of=image_of, recordings=recordings, spoken=spoken
    )
    least = -1.0
    if chosen_on:
        least = best_min_score(chosen_on, texts)
        above = keyword_values(keywords_above(least, utterances), texts)
        scores["reported"] = {"min_score": least, **_means(above)}
    scores["detection"] = detection_scores(utterances, texts, spoken, min_score=least)
    if foreign := spoken.foreign(image_of):
        scores["translated"] = len(foreign)
        scores["languages"] = keywords_by_language(utterances, texts, spoken, min_score=least)
    (directory / BOUNDARY_SCORES).unlink(missing_ok=True)
    if spoken.words is not None and "boundaries" in scores:
        found = f_values(count_boundaries(utterances, spoken.words, TOLERANCE))
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
    recordings: RecordingNames | None = None,
    spoken: Spoken | None = None,
) -> dict:
    """Scores keywords, and their boundaries where word alignments are given.

    Args:
        utterances: Utterances with their keywords, as ``read_keywords`` returns them.
        texts: Text of every token id that occurs.
        image_of: Image of each utterance, whose captions depend on each other; by default itself.
        recordings: Recordings of each utterance, or None if each is a recording of its own.
        spoken: What is known of the speech, or None if nothing is.

    Returns:
        Means of ``keyword_values``, and ``left_out``, ``intervals``, ``boundaries`` within
        ``TOLERANCE`` and ``boundaries_20ms``.

    Raises:
        AlignmentError: If no utterance has an alignment.
        ValueError: If there is no utterance, or the text of a token is unknown.
    """
    values = keyword_values(utterances, texts)
    names = [utterance.utterance for utterance in utterances]
    images = [image_of[name] for name in names] if image_of else names
    columns = np.stack(list(values.values()), axis=1)
    intervals = mean_intervals(columns, images, recordings=recordings)
    left_out = {name: int(np.isnan(column).sum()) for name, column in values.items()}
    result: dict = _means(values)
    result |= {"utterances": len(utterances), "left_out": left_out}
    result["intervals"] = dict(zip(values, intervals, strict=True))
    return result | boundary_scores(utterances, spoken or Spoken())


def boundary_scores(utterances: Sequence[UtteranceKeywords], spoken: Spoken) -> dict:
    """Scores the boundaries of keywords; it is empty without alignments or times.

    The true boundaries are those of the spoken words, in any language.

    Raises:
        AlignmentError: If no utterance has an alignment.
    """
    words = spoken.words
    if words is None or all(k.start is None for u in utterances for k in u.keywords):
        return {}
    if not any(u.utterance in words for u in utterances):
        raise AlignmentError("no utterance of the alignment is in keywords.jsonl: do ids match?")
    result = {}
    for name, within in (("boundaries", TOLERANCE), ("boundaries_20ms", FIELD_TOLERANCE)):
        found = score_segmentation(count_boundaries(utterances, words, within), within)
        result[name] = dataclasses.asdict(found)
    return result


def keywords_by_language(
    utterances: Sequence[UtteranceKeywords],
    texts: Mapping[int, str],
    spoken: Spoken,
    *,
    min_score: float,
) -> dict[str, dict]:
    """Computes ``<language>.<measure>``: means of ``keyword_values``, and ``boundary_scores``.

    ``<language>.reported`` has the means for the keywords of at least ``min_score``.
    """
    groups: dict[str, list[UtteranceKeywords]] = {}
    for utterance in utterances:
        groups.setdefault(spoken.language_of.get(utterance.utterance, ""), []).append(utterance)
    return {
        language: {
            "utterances": len(group),
            **_means(keyword_values(group, texts)),
            "reported": _means(keyword_values(keywords_above(min_score, group), texts)),
            **_boundaries_if_aligned(group, spoken),
        }
        for language, group in sorted(groups.items())
    }


def _boundaries_if_aligned(utterances: Sequence[UtteranceKeywords], spoken: Spoken) -> dict:
    aligned = any(utterance.utterance in (spoken.words or {}) for utterance in utterances)
    return boundary_scores(utterances, spoken) if aligned else {}


def detection_scores(
    utterances: Sequence[UtteranceKeywords],
    texts: Mapping[int, str],
    spoken: Spoken,
    *,
    min_score: float,
) -> dict[str, dict]:
    """Scores given words, as ``<language or all>.<measure>`` (``DetectionScores``).

    Args:
        utterances: Utterances with their keywords and captions.
        texts: Text of every token id that occurs.
        spoken: What is known of the speech.
        min_score: Lowest score of a keyword that is named.
    """
    names = [utterance.utterance for utterance in utterances]
    words = given_words(utterances, texts)
    if not words.ids:
        return {}
    answers = answers_to_text(utterances, list(words.ids.values()), min_score=min_score)
    english = spoken.english or {}
    right = right_places(words.ids, names, answers.places, english)
    aligned = np.array([name in english for name in names])
    groups = {"all": np.ones(len(names), dtype=bool)}
    for language in sorted({spoken.language_of.get(name, "") for name in names} - {""}):
        groups[language] = np.array([spoken.language_of.get(n) == language for n in names])
    if len(groups) == 2:  # one language is all
        del groups["all"]
    found = {
        group: score_detection(
            answers.of(chosen), words.present[:, chosen], right[:, chosen], aligned[chosen]
        )
        for group, chosen in groups.items()
    }
    return {group: dataclasses.asdict(scores) for group, scores in found.items() if scores}
