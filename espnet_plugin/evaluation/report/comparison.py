"""Compares models on one test set: a table, and a page of what they hear in the same recordings."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.keyword_rates import keyword_values, keywords_above
from espnet_plugin.evaluation.report.material import read_material, read_words
from espnet_plugin.evaluation.report.media import encode_image, media_uri
from espnet_plugin.evaluation.report.render import TEMPLATES
from espnet_plugin.evaluation.report.tables import Table, comparison_table
from espnet_plugin.evaluation.report.utterances import draw_recording
from espnet_plugin.evaluation.report.write import REPORT_FILE
from espnet_plugin.evaluation.scores.experiment import SCORES_FILE, choices, read_scores
from espnet_plugin.evaluation.token_texts import clip_tokenizer
from espnet_plugin.utils.atomic import write_text

RECORDINGS = {"best": 3, "median": 4, "worst": 3}  # on the page, in this order


@dataclass(frozen=True)
class _Model:
    name: str  # architecture, with the experiment where several have this architecture
    report: str  # address of its report.html, relative to the page
    scores: Mapping  # content of scores.json
    data: InferenceSet
    keywords: list[UtteranceKeywords]  # that it reports
    named: np.ndarray  # (utterances,) share of the caption's content words that these name
    right: np.ndarray  # (utterances,) share of the content keywords that are right


def compare_models(
    inference_dirs: Sequence[Path], page: Path, *, data_dir: Path
) -> tuple[Table, str]:
    """Writes a page that compares models; the keywords of the last one choose its recordings.

    Args:
        inference_dirs: Inference directories of the models, as ``write_results`` left them.
        page: HTML file to write.
        data_dir: Data directory of the test set.

    Returns:
        The table of the page, and what its columns mean.

    Raises:
        ValueError: If the models or the data are of different sets, or there are no keywords.
    """
    models = _with_names([_read_model(each, page.parent) for each in inference_dirs])
    judge = models[-1]
    utterances = [utterance.utterance for utterance in judge.keywords]
    for model in models:
        if [utterance.utterance for utterance in model.keywords] != utterances:
            both = f"{model.data.directory} and {judge.data.directory}"
            raise ValueError(f"{both} hold other recordings: evaluate the models on one set")
    table, meaning = comparison_table({model.name: model.scores for model in models})
    material, words = read_material(judge.data, data_dir), read_words(data_dir)
    if not material.audio.keys() >= set(utterances):
        raise ValueError(f"{data_dir}: wav.scp lacks recordings of {judge.data.directory}")
    image_of = dict(zip(judge.data.utterances, judge.data.image_of, strict=True))
    images = [image_of[utterance] for utterance in utterances]
    chosen = choose_recordings(judge.named, judge.right, images=images)
    drawings = {}
    for row in (row for rows in chosen.values() for row in rows):
        heard = {model.name: model.keywords[row] for model in models}
        recording, spoken = material.audio[utterances[row]], words.get(utterances[row], ())
        drawings[row] = draw_recording(recording, heard, spoken)
    text = TEMPLATES.get_template("comparison.html.jinja").render(
        models=models,
        judge=judge,
        table=table,
        meaning=meaning,
        chosen=chosen,
        images=images,
        drawings=drawings,
        material=material,
        image_uri=partial(media_uri, encode=encode_image),
    )
    write_text(page, text)
    return table, meaning


def choose_recordings(
    named: np.ndarray, right: np.ndarray, *, images: Sequence[str]
) -> dict[str, list[int]]:
    """Chooses the best, the median and the worst recordings, each of another image.

    Recordings are ordered by ``named``, equal ones by ``right``, and then as they are listed.

    Args:
        named: Share of content words that are named, (utterances,). NaN leaves a recording out.
        right: Share of content keywords that are right, (utterances,). NaN counts as 0.
        images: Image of each utterance.

    Returns:
        Rows of each kind, from the better to the worse.
    """
    order = [row for row in np.lexsort((-np.nan_to_num(right), -named)) if not np.isnan(named[row])]
    place = {int(row): number for number, row in enumerate(order)}
    middle = sorted(place, key=lambda row: abs(place[row] - (len(place) - 1) / 2))
    found: dict[str, list[int]] = {name: [] for name in RECORDINGS}
    shown = set()
    for name, candidates in (("best", place), ("worst", reversed(place)), ("median", middle)):
        for row in candidates:
            if len(found[name]) < RECORDINGS[name] and images[row] not in shown:
                found[name].append(row)
                shown.add(images[row])
    return {name: sorted(rows, key=place.__getitem__) for name, rows in found.items()}


def _with_names(models: Sequence[_Model]) -> list[_Model]:
    """Names models of one architecture by their experiments, too."""
    count = Counter(model.name for model in models)
    return [
        model
        if count[model.name] == 1
        else replace(model, name=f"{model.name} ({model.data.directory.parent.parent.name})")
        for model in models
    ]


def _read_model(inference_dir: Path, start: Path) -> _Model:
    scores = read_scores(inference_dir / SCORES_FILE)
    data = read_inference_set(inference_dir / scores["test_set"])
    if not data.captioned_keywords:
        raise ValueError(f"{data.directory}: no keywords with captions: only such can be compared")
    reported = keywords_above(choices(scores).get("min_score", -1.0), data.captioned_keywords)
    values = keyword_values(reported, clip_tokenizer().decoder)
    return _Model(
        name=scores["architecture"],
        report=quote(os.path.relpath(inference_dir / REPORT_FILE, start)),
        scores=scores,
        data=data,
        keywords=[replace(utterance, alphas=None, fired=()) for utterance in reported],
        named=values["content_word_recall"],
        right=values["content_word_hit@1"],
    )
