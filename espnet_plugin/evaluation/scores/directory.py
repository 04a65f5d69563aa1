"""Scores one set's inference directory and keeps the outcome in ``scoring/*.json`` beneath it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_plugin.data.alignments import AlignmentError, read_ctm
from espnet_plugin.data.hard_negatives import families, hard_negatives_of
from espnet_plugin.data.inference_set import (
    KEYWORDS,
    TRANSCRIPT_FACTS,
    UTT2IMAGE,
    read_inference_set,
)
from espnet_plugin.data.keyword_file import read_captioned_keywords
from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.evaluation.fusion import choose_weight
from espnet_plugin.evaluation.scores.files import read_scores, write_scores
from espnet_plugin.evaluation.scores.keywords import keyword_scores, load_token_texts
from espnet_plugin.evaluation.scores.retrieval import compare_ranks, rank_set, retrieval_scores
from espnet_plugin.evaluation.segmentation import count_boundaries, f_values

RETRIEVAL_SCORES = Path("scoring") / "retrieval.json"
KEYWORD_SCORES = Path("scoring") / "keywords.json"
BOUNDARY_SCORES = Path("scoring") / "boundary_f"  # a number of each utterance, whose mean is F
# earlier versions had more, of which their files tell
_KEYWORD_OPTIONS = ("token_list", "words_ctm", "tolerance", "samples", "seed")


def score_retrieval_directory(
    directory: str | Path,
    *,
    dev_directory: str | Path | None = None,
    other_directory: str | Path | None = None,
    recall_at: Sequence[int] = (1, 5, 10),
    samples: int = 1000,
    seed: int = 0,
) -> dict:
    """Scores the retrieval of one set and writes ``scoring/retrieval.json``.

    Args:
        directory: The set's inference directory.
        dev_directory: That of the development set, on which the fusion's weight is chosen.
        other_directory: That of another model on the same set, to be compared with.
        recall_at: The k of recall@k.
        samples: Bootstrap resamples, 0 for none.
        seed: Seed of the resampling.
    """
    directory = Path(directory)
    data = read_inference_set(directory)
    if not data.images:
        raise ValueError(
            f"{directory}: no picture was embedded; run inference with --utt2image and --image_scp"
        )
    weight = None
    if dev_directory is not None and len(data.branches) == 2:
        dev = read_inference_set(dev_directory)
        weight = choose_weight(dev) if len(dev.branches) == 2 else None
    ranks = rank_set(data, fusion_weight=weight)
    scores = retrieval_scores(data, ranks, recall_at=recall_at, samples=samples, seed=seed)
    if "asr" in scores and (directory / TRANSCRIPT_FACTS).exists():
        facts = json.loads((directory / TRANSCRIPT_FACTS).read_text(encoding="utf-8"))
        scores["asr"]["word_error_rate"] = facts.get("word_error_rate")
    if weight is not None:
        scores["fusion"]["weight_of_parallel"] = weight
    if other_directory is not None:
        other = read_inference_set(other_directory)
        if (other.utterances, other.images) != (data.utterances, data.images):
            raise ValueError(
                f"{other_directory} and {directory} do not hold the same utterances and images in "
                "the same order: only models that ran on one set can be compared"
            )
        scores["comparison"] = {
            "with": str(other_directory),
            **compare_ranks(
                ranks, rank_set(other), units=data.units, recall_at=recall_at, seed=seed
            ),
        }
    options = {"recall_at": recall_at, "samples": samples, "seed": seed}
    options |= _paths(dev_directory=dev_directory, other_directory=other_directory)
    write_scores(directory / RETRIEVAL_SCORES, scores, options)
    return scores


def current_retrieval_scores(
    directory: str | Path, *, dev_directory: str | Path | None = None
) -> dict:
    """Scores the retrieval of one set again, with the options of the last time.

    Where a file or directory of the last time is gone, e.g. on another machine, the scores stay
    those of then.

    Args:
        directory: The set's inference directory.
        dev_directory: As for ``score_retrieval_directory``; None: as last time.
    """
    scores, options = read_scores(Path(directory) / RETRIEVAL_SCORES)
    options |= _paths(dev_directory=dev_directory)
    if scores is not None and _something_is_gone(options):
        return scores
    return score_retrieval_directory(directory, **options)


def score_keywords_directory(
    directory: str | Path,
    *,
    token_list: str | Path | None = None,
    words_ctm: str | Path | None = None,
    tolerance: float = 0.05,
    samples: int = 1000,
    seed: int = 0,
) -> dict:
    """Scores the keywords of one set and writes ``scoring/keywords.json``.

    With alignments also ``scoring/boundary_f``, by which runs are compared.

    Args:
        directory: The set's inference directory.
        token_list: tokens.tsv of the keyword vocabulary, if the tokenizer is not CLIP's own.
        words_ctm: Word alignments.
        tolerance: As for ``keyword_scores``, like what follows.
        samples: See there.
        seed: See there.
    """
    directory = Path(directory)
    utterances = read_captioned_keywords(directory / KEYWORDS)
    words = None if words_ctm is None else read_ctm(words_ctm)
    image_of = None
    if (directory / UTT2IMAGE).exists():
        image_of = read_scp(directory / UTT2IMAGE)
        unknown = [u.utterance for u in utterances if u.utterance not in image_of]
        if unknown:
            raise ValueError(
                f"{directory / UTT2IMAGE}: no image for {len(unknown)} utterances of "
                f"keywords.jsonl, the first is {unknown[0]}"
            )
        family = families(hard_negatives_of(directory))  # of no independent draws
        image_of = {utt: family.get(image, image) for utt, image in image_of.items()}
    scores = keyword_scores(
        utterances,
        load_token_texts(token_list),
        image_of=image_of,
        words=words,
        tolerance=tolerance,
        samples=samples,
        seed=seed,
    )
    (directory / BOUNDARY_SCORES).unlink(missing_ok=True)
    if words is not None and "boundaries" in scores:
        found = f_values(count_boundaries(utterances, words, tolerance=tolerance))
        names = (utterance.utterance for utterance in utterances)
        write_scp(directory / BOUNDARY_SCORES, dict(zip(names, found, strict=True)))
    options = {"tolerance": tolerance, "samples": samples, "seed": seed}
    options |= _paths(token_list=token_list, words_ctm=words_ctm)
    write_scores(directory / KEYWORD_SCORES, scores, options)
    return scores


def current_keyword_scores(
    directory: str | Path,
    *,
    token_list: str | Path | None = None,
    words_ctm: str | Path | None = None,
) -> dict:
    """Scores the keywords of one set again, as ``current_retrieval_scores`` does its retrieval.

    Alignments that cannot be used are left out with a warning.

    Args:
        directory: The set's inference directory.
        token_list: As for ``score_keywords_directory``; None: as last time.
        words_ctm: Likewise.
    """
    scores, options = read_scores(Path(directory) / KEYWORD_SCORES)
    options = {name: options[name] for name in _KEYWORD_OPTIONS if name in options}
    options |= _paths(token_list=token_list, words_ctm=words_ctm)
    if scores is not None and _something_is_gone(options):
        return scores
    try:
        return score_keywords_directory(directory, **options)
    except AlignmentError as error:
        logging.warning(f"keywords are scored without their places: {error}")
        return score_keywords_directory(directory, **options | {"words_ctm": None})


def _paths(**given: str | Path | None) -> dict[str, Any]:
    return {name: Path(path) for name, path in given.items() if path is not None}


def _something_is_gone(options: Mapping[str, Any]) -> bool:
    return any(isinstance(path, Path) and not path.exists() for path in options.values())
