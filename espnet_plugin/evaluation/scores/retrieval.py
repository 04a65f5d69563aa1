"""All retrieval scores of one data set, as one nested dictionary that becomes JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from espnet_plugin.data.datadir import RECORDINGS, SYNTHETIC
from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.chance import chance_scores
from espnet_plugin.evaluation.fusion import choose_weight, fuse, gallery_of
from espnet_plugin.evaluation.retrieval import (
    RECALL_AT,
    RetrievalRanks,
    rank_embeddings,
    rank_rows,
    summarize,
)
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.statistics import (
    Interval,
    RecordingNames,
    mean_intervals,
    median_interval,
)
from espnet_plugin.utils.errors import DataError

Ranks = dict[str, dict[str, RetrievalRanks]]
# by the file with the utterances' groups: what a group is, and the direction of a search among the
# others
ACROSS = {
    "utt2spk": ("speaker", "speech_to_speech"),
    "utt2lang": ("language", "speech_to_other_languages"),
}
RETRIEVAL_SCORES = Path("scoring") / "retrieval.json"


def score_retrieval_directory(
    directory: str | Path,
    *,
    dev_directory: str | Path | None = None,
    data_dir: str | Path | None = None,
    train_dir: str | Path | None = None,
) -> dict:
    """Scores the retrieval of one set and writes ``scoring/retrieval.json``.

    Args:
        directory: The set's inference directory.
        dev_directory: Inference directory of the set that selects the weight of fusion.
        data_dir: Data directory of the set, whose speakers and languages are used.
        train_dir: Data directory of the training set, whose images the deciding set searches, too.

    Raises:
        DataError: If utterances share recordings, but the outputs do not say which.
        ValueError: If there is no image.
    """
    directory = Path(directory)
    data = read_inference_set(directory)
    if not data.images:
        raise ValueError(
            f"{directory}: no image was embedded; run inference with --utt2image and --image_scp"
        )
    listed = None if data_dir is None else Path(data_dir) / RECORDINGS
    if listed and listed.exists() and not (directory / RECORDINGS).exists():
        raise DataError(f"{directory} lacks {RECORDINGS}, which {data_dir} has; run stage 8 again")
    weight, chosen = None, {}
    if dev_directory is not None and len(data.branches) == 2:
        dev = read_inference_set(dev_directory)
        if len(dev.branches) == 2:
            gallery = gallery_of(dev, Path(train_dir) if train_dir else None)
            weight = choose_weight(dev, gallery)
            chosen = {"weight_of_parallel": weight, "images_of_choice": len(gallery.images)}
    ranks = rank_set(data, fusion_weight=weight)
    files = {} if data_dir is None else {table: Path(data_dir) / table for table in ACROSS}
    groups = {table: read_scp(file) for table, file in files.items() if file.exists()}
    for table, group_of in groups.items():
        found = rank_across(data, group_of, table=table, fusion_weight=weight)
        for system, ranked in found.items():
            ranks[system][ACROSS[table][1]] = ranked
    scores = retrieval_scores(data, ranks)
    if languages := groups.get("utt2lang"):
        scores["languages"] = retrieval_by_language(data, ranks, languages)
    if synthetic := sum(utterance.startswith(SYNTHETIC) for utterance in data.utterances):
        scores["synthetic"] = synthetic
    if chosen:
        scores["fusion"] |= chosen
    write_json(directory / RETRIEVAL_SCORES, scores)
    return scores


def speech_embeddings(data: InferenceSet, fusion_weight: float | None) -> dict[str, np.ndarray]:
    """The embeddings of a set's speech by each system, (utterances, dim).

    Args:
        data: Embeddings of the set.
        fusion_weight: Weight of the parallel branch in ``fusion``, if there are both branches.
    """
    systems = dict(data.branches)
    if fusion_weight is not None and len(systems) == 2:
        systems["fusion"] = fuse(data, fusion_weight)
    return systems


def rank_set(data: InferenceSet, *, fusion_weight: float | None = None) -> Ranks:
    """Ranks every pair of modalities that a set has.

    Args:
        data: Embeddings of the set to be scored.
        fusion_weight: Weight of the parallel branch; None leaves ``fusion`` out.

    Returns:
        Ranks by system (``parallel``, ``cascaded``, ``fusion``, ``teacher``) and direction
        (``speech_to_image``, ``image_to_speech``, ``speech_to_text``, ``text_to_speech``,
        ``text_to_image``, ``image_to_text``).
    """
    ranks: Ranks = {}
    for system, speech in speech_embeddings(data, fusion_weight).items():
        forth, back = rank_embeddings(speech, data.image, data.image_of, data.images)
        ranks[system] = {"speech_to_image": forth, "image_to_speech": back}
        if data.text is not None:
            forth, back = rank_embeddings(speech, data.text, data.image_of, data.image_of)
            ranks[system] |= {"speech_to_text": forth, "text_to_speech": back}
    if data.text is not None:
        forth, back = rank_embeddings(data.text, data.image, data.image_of, data.images)
        ranks["teacher"] = {"text_to_image": forth, "image_to_text": back}
    if not ranks:
        raise ValueError(f"{data.directory} holds neither speech nor text embeddings")
    return ranks


def rank_across(
    data: InferenceSet,
    group_of: Mapping[str, str],
    *,
    table: str = "utt2spk",
    fusion_weight: float | None = None,
) -> dict[str, RetrievalRanks]:
    """Ranks the utterances of other groups for each utterance, by the systems of ``rank_set``.

    Those of the same image are relevant. Utterances without one are left out, and systems if all
    are. ``group_of`` has the speaker or language of each utterance, as the file ``table`` does.
    """
    missing = next((u for u in data.utterances if u not in group_of), None)
    if missing is not None:
        group, _ = ACROSS[table]
        raise ValueError(f"{data.directory}: {table} has no {group} of utterance {missing}")
    systems = speech_embeddings(data, fusion_weight)
    if "fusion" in systems:  # with speech on both sides, this is the weighted sum of the cosines
        weighted = (fusion_weight, data.parallel), (1 - fusion_weight, data.cascaded)
        systems["fusion"] = np.hstack([np.float32(weight**0.5) * rows for weight, rows in weighted])
    groups = [group_of[utterance] for utterance in data.utterances]
    ranks = ((name, rank_rows(rows, data.image_of, groups)) for name, rows in systems.items())
    return {name: found for name, found in ranks if found is not None}


def retrieval_by_language(
    data: InferenceSet, ranks: Ranks, language_of: Mapping[str, str]
) -> dict[str, dict]:
    """``<language>.<system>.<measure>`` of the search for all images by a language's utterances."""
    spoken = np.array([language_of[utterance] for utterance in data.utterances])
    scores: dict[str, dict] = {}
    for language, system in product(sorted(set(spoken.tolist())), ranks):
        if (found := ranks[system].get("speech_to_image")) is not None:
            own, precision = found.rank[spoken == language], found.average_precision
            found = replace(found, rank=own, average_precision=precision[spoken == language])
            scores.setdefault(language, {})[system] = summarize(found).to_dict()
    return scores


def retrieval_scores(data: InferenceSet, ranks: Ranks) -> dict:
    """Turns ranks into scores, intervals and chance.

    Args:
        data: Embeddings of the set.
        ranks: Ranks that ``rank_set`` returned for it.

    Returns:
        ``<system>.<direction>.<measure>``, the 95 % intervals under
        ``intervals.<system>.<direction>.<measure>`` as [lower, upper], and ``images``,
        ``utterances``, ``recordings`` if utterances are put together from some,
        ``without_other_speaker`` and ``without_other_language``, which of them do not search
        speech.
    """
    scores: dict = {"images": len(data.images), "utterances": len(data.utterances)}
    if (made_of := data.recordings_of(data.utterances)) is not None:
        scores["recordings"] = len(frozenset().union(*made_of))
    intervals: dict = {}
    chance: dict = {}
    for system, directions in ranks.items():
        for direction, outcome in directions.items():
            scores.setdefault(system, {})[direction] = summarize(outcome).to_dict()
            if direction not in chance:
                expected = chance_scores(outcome.relevant, outcome.num_items)
                chance[direction] = expected.to_dict()
            for group, across in ACROSS.values():
                if direction == across:
                    scores[f"without_other_{group}"] = len(data.utterances) - len(outcome.ids)
            recordings = None if system == "teacher" else recordings_of_queries(data, direction)
            intervals.setdefault(system, {})[direction] = _intervals(outcome, recordings)
    return {**scores, "chance": chance, "intervals": intervals}


def recordings_of_queries(data: InferenceSet, direction: str) -> RecordingNames | None:
    """Recordings on which each query's rank depends: its own, or those that speak of its image."""
    own = data.recordings_of(data.utterances)
    if own is None or direction.startswith("speech_to_"):
        return own
    of_image: dict[str, set[str]] = {}
    for image, recordings in zip(data.image_of, own, strict=True):
        of_image.setdefault(image, set()).update(recordings)
    return [of_image[i] for i in (data.images if direction.startswith("image_") else data.image_of)]


def _intervals(ranks: RetrievalRanks, recordings: RecordingNames | None) -> dict[str, Interval]:
    values = {f"recall@{k}": ranks.rank <= k for k in RECALL_AT}
    values["mean_reciprocal_rank"] = 1.0 / ranks.rank
    table = np.stack(list(values.values()), axis=1)  # (queries, measures)
    if recordings is not None:
        recordings = [recordings[row] for row in ranks.rows]
    found = mean_intervals(table, ranks.ids, recordings=recordings)
    median = median_interval(ranks.rank, ranks.ids, recordings=recordings)
    return {**dict(zip(values, found, strict=True)), "median_rank": median}
