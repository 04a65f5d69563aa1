"""Draws all figures of one set.

One that cannot be drawn, and a damaged file that it would show, is left out with a warning.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure

from espnet_plugin.evaluation.alignments import WORDS_CTM, read_ctm
from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.figures.attention import draw_attention
from espnet_plugin.evaluation.figures.curves import draw_recall_curves
from espnet_plugin.evaluation.figures.firing import draw_firing
from espnet_plugin.evaluation.figures.gallery import draw_gallery
from espnet_plugin.evaluation.figures.keyword_table import draw_keyword_table
from espnet_plugin.evaluation.figures.ladder import draw_ladder
from espnet_plugin.evaluation.figures.layer_weights import draw_layer_weights
from espnet_plugin.evaluation.figures.similarity import draw_similarity
from espnet_plugin.evaluation.figures.training_curves import draw_training_curves
from espnet_plugin.evaluation.inference_set import (
    ATTENTION,
    LAYER_WEIGHTS,
    InferenceSet,
    read_frame_seconds,
)
from espnet_plugin.evaluation.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.queries import search
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.report_figure import ReportFigure, Timeline
from espnet_plugin.evaluation.scores.retrieval import Ranks
from espnet_plugin.evaluation.training_log import read_training_curves

FIGURES_DIR = "figures"
EXAMPLES = 3  # utterances drawn one by one
MAX_ATTENTION_MAPS = 2
PAIRS = 12  # of the similarity matrix


def draw_all(
    data: InferenceSet,
    ranks: Ranks,
    material: Material,
    *,
    experiment: Path,
    data_dir: Path | None = None,
    ladder: Mapping | None = None,
) -> list[ReportFigure]:
    """Writes every figure for which there is data to ``figures/`` in the set's directory.

    Examples are taken at even distances through the list of utterances, never chosen by score.

    Args:
        data: The set.
        ranks: What ``rank_set`` returned for it.
        material: Its recordings, pictures and texts.
        experiment: Experiment directory, for the training's course.
        data_dir: Data directory of the set, for words.ctm.
        ladder: What ``score_ladder`` returned for it.

    Returns:
        What was drawn, in the order in which a reader wants it.
    """
    drawn = []
    for planned, draw in _jobs(data, ranks, material, experiment, data_dir, ladder):
        try:
            figure = draw()
            png = style.save(figure, data.directory / FIGURES_DIR / planned.name)
        except Exception as error:  # whatever it is, no figure is worth the results
            logging.warning(f"figure {planned.name} is left out: {type(error).__name__}: {error}")
            continue
        timeline = _timeline(figure) if planned.utterance is not None else None
        drawn.append(replace(planned, png=png, timeline=timeline))
    return drawn


def _timeline(figure: Figure) -> Timeline:
    places = [axis.get_position() for axis in figure.axes]
    return Timeline(
        left=float(places[0].x0),
        right=float(places[0].x1),
        top=1 - float(max(place.y1 for place in places)),
        bottom=float(min(place.y0 for place in places)),
        seconds=float(figure.axes[0].get_xlim()[1]),
    )


def _jobs(
    data: InferenceSet,
    ranks: Ranks,
    material: Material,
    experiment: Path,
    data_dir: Path | None,
    ladder: Mapping | None,
) -> Iterator[tuple[ReportFigure, Callable[[], Figure]]]:
    audio, pictures, captions = material.audio, material.pictures, material.captions
    words = _read(data_dir, WORDS_CTM, read_ctm)
    branch = next(iter(data.branches), None)

    spoken = [u for u in data.keywords if u.keywords]
    fired = [u for u in spoken if u.utterance in audio]
    for number, utterance in enumerate(_spread(fired, EXAMPLES), 1):
        yield (
            ReportFigure(
                f"firing_{number}",
                "Where the cascaded branch fires"
                if number == 1
                else f"Another utterance ({number})",
                "The weights alpha are added up along the speech, and each time that they reach 1 "
                "a keyword is complete; its bar shows the stretch that it was made from."
                if utterance.alphas
                else "The keywords, beside the speech that they were made from.",
                "firings",
                utterance=utterance.utterance,
            ),
            lambda u=utterance: _firing(
                u, audio[u.utterance], words.get(u.utterance, []), data.directory
            ),
        )
    if data.keywords:
        rows = _spread(spoken, 6)
        image_of = dict(zip(data.utterances, data.image_of, strict=True))
        files = [pictures.get(image_of.get(u.utterance, "")) for u in rows]
        yield (
            ReportFigure(
                "keywords",
                "Keywords that the model hears",
                "Under each spoken caption stand the keywords that the model drew from its sound.",
                "keywords-beside-captions",
            ),
            lambda: draw_keyword_table(rows, files),
        )
    if ladder:
        yield (
            ReportFigure(
                "ladder",
                "Where retrieval by keywords is lost",
                "Recall when CLIP's text tower reads the caption, less and less of it, and what "
                "the model said; below, how often the captions' content words are named.",
                "ladder",
            ),
            lambda: draw_ladder(ladder),
        )
    if branch and pictures and captions:
        asked = _spread([row for row, u in enumerate(data.utterances) if u in captions], 5)
        yield (
            ReportFigure(
                "gallery",
                f"Pictures found by speech ({branch} branch)",
                "Each spoken caption with the pictures nearest to it, their rank and cosine; the "
                "right one is framed, and stands last where it is not among them.",
                "gallery",
            ),
            lambda: draw_gallery(list(search(data, ranks, asked)), captions, pictures),
        )
    yield (
        ReportFigure(
            "recall_curves",
            "Recall@k",
            "The share of queries that find what belongs to them among the first k, over k.",
            "recall-curves",
        ),
        lambda: draw_recall_curves(ranks),
    )
    yield (
        ReportFigure(
            "training_curves",
            "Training",
            "What training and validation reported after each epoch.",
            "training-curves",
        ),
        lambda: draw_training_curves(read_training_curves(experiment)),
    )
    yield from _layers_and_attention(data, captions, words)
    if branch:
        yield (
            ReportFigure(
                "similarity",
                f"Similarities of the {branch} branch",
                "Cosines of some spoken captions (rows) with their pictures (columns): those of a "
                "good model are highest in the outlined cells.",
                "similarities",
            ),
            lambda: _similarity(data, captions, pictures),
        )


def _layers_and_attention(
    data: InferenceSet, captions: Mapping[str, str], words: Mapping[str, Sequence]
) -> Iterator[tuple[ReportFigure, Callable[[], Figure]]]:
    weights = data.directory / LAYER_WEIGHTS
    if weights.exists():
        yield (
            ReportFigure(
                "layer_weights",
                "What the model takes from each layer of the speech encoder",
                "The learned weights of the encoder's hidden states, which add up to 1.",
                "layer-weights",
            ),
            lambda: draw_layer_weights(np.load(weights, allow_pickle=False)),
        )
    maps = _read(data.directory, ATTENTION, _read_maps)
    for number, (utterance, attention) in enumerate(maps.items(), 1):
        labels = _query_labels(attention, parallel="parallel" in data.branches)
        yield (
            ReportFigure(
                f"attention_{number}",
                f"Where {'the queries' if labels else 'frames'} look ({number})",
                "How much each row, a learned query or a frame, takes from each moment of the "
                "speech, for every head of the attention block.",
                "attention-maps",
            ),
            lambda u=utterance, w=attention, q=labels: draw_attention(
                w,
                frame_seconds=read_frame_seconds(data.directory),
                query_labels=q,
                words=words.get(u, []),
                title=captions.get(u, u),
            ),
        )


def _query_labels(weights: np.ndarray, *, parallel: bool) -> list[str]:
    """Names of an attention map's rows; none when they are frames."""
    queries, frames = weights.shape[1:]
    if queries == frames:
        return []
    names = ["utterance"] if parallel else []
    return names + [f"keyword {n + 1}" for n in range(queries - len(names))]


def _read(directory: Path | None, name: str, reader: Callable[[Path], dict]) -> dict:
    if directory is None or not (directory / name).exists():
        return {}
    try:
        return reader(directory / name)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        logging.warning(f"{directory / name} is left out of the figures: {error}")
        return {}


def _read_maps(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in sorted(stored)[:MAX_ATTENTION_MAPS]}


def _spread(items: Sequence, number: int) -> list:
    if not items:
        return []
    places = np.unique(
        np.linspace(0, len(items) - 1, min(number, len(items)) + 2)[1:-1].astype(int)
    )
    return [items[place] for place in places]


def _firing(utterance: UtteranceKeywords, audio: str, words: Sequence, directory: Path) -> Figure:
    if audio.endswith("|"):
        raise ValueError(f"{utterance.utterance}: the waveform is a pipe, not a file")
    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    step = None if utterance.alphas is None else read_frame_seconds(directory)
    return draw_firing(samples.mean(axis=1), rate, utterance, words=words, frame_seconds=step)


def _similarity(
    data: InferenceSet, captions: Mapping[str, str], pictures: Mapping[str, str]
) -> Figure:
    first: dict[str, int] = {}
    for row, image in enumerate(data.image_of):
        first.setdefault(image, row)
    images = _spread(sorted(first), PAIRS)
    rows = [first[image] for image in images]
    columns = [data.images.index(image) for image in images]
    speech = next(iter(data.branches.values()))
    values = np.asarray(speech)[rows] @ np.asarray(data.image)[columns].T
    labels = [captions.get(data.utterances[row], data.utterances[row]) for row in rows]
    return draw_similarity(values, labels, [pictures.get(image) for image in images])
