"""Draws all figures of one set. One that cannot be drawn is left out with a warning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure

from espnet_plugin.data.alignments import Word
from espnet_plugin.data.inference_set import (
    InferenceSet,
    read_attention,
    read_frame_seconds,
    read_layer_weights,
)
from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.figures.attention import draw_attention
from espnet_plugin.evaluation.figures.firing import draw_firing
from espnet_plugin.evaluation.figures.layer_weights import draw_layer_weights
from espnet_plugin.evaluation.figures.recall import draw_ladder, draw_recall_curves
from espnet_plugin.evaluation.figures.training_curves import draw_training_curves
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.page import ReportFigure
from espnet_plugin.evaluation.scores.retrieval import Ranks
from espnet_plugin.evaluation.training_log import read_training_curves

FIGURES_DIR = "figures"
FIRINGS = 3  # utterances drawn one by one
MAX_ATTENTION_MAPS = 2


@dataclass(frozen=True)
class Shown:
    """What the figures show.

    Attributes:
        data: The set.
        ranks: What ``rank_set`` returned for it.
        material: Its recordings and texts.
        experiment: Experiment directory, for the course of training.
        words: Word alignment of each utterance; may be empty.
        ladder: What ``score_ladder`` returned for the set, if it did.
    """

    data: InferenceSet
    ranks: Ranks
    material: Material
    experiment: Path
    words: Mapping[str, Sequence[Word]]
    ladder: Mapping | None = None


Drawings = Iterator[tuple[Figure, str | None]]  # with the utterance drawn over time, if any


@dataclass(frozen=True)
class Planned:
    """A row of the table of figures.

    Attributes:
        name: Name of its files, without suffix; ``{number}`` counts if there are several.
        title: A few words; ``{number}`` is filled in.
        meaning: How to read it.
        section: Heading in docs/evaluation.md that says more, as in its address.
        draw: Draws what the data allow: nothing, one figure or several.
    """

    name: str
    title: str
    meaning: str
    section: str
    draw: Callable[[Shown], Drawings]


def draw_all(shown: Shown) -> list[ReportFigure]:
    """Writes every figure that the data allow to ``figures/`` in the set's directory.

    Utterances are taken at even distances from the list, not chosen by score.

    Returns:
        What was drawn, in the order of the report.
    """
    drawn = []
    for planned in FIGURES:
        try:
            for number, (figure, utterance) in enumerate(planned.draw(shown), 1):
                name = planned.name.format(number=number)
                drawn.append(
                    ReportFigure(
                        name,
                        planned.title.format(number=number),
                        planned.meaning,
                        planned.section,
                        style.save(figure, shown.data.directory / FIGURES_DIR / name),
                        utterance=utterance,
                        timeline=None if utterance is None else _timeline(figure),
                    )
                )
        except Exception as error:  # whatever it is, no figure is worth the results
            logging.warning(f"figure {planned.name} is left out: {type(error).__name__}: {error}")
    return drawn


def _timeline(figure: Figure) -> dict[str, float]:
    places = [axis.get_position() for axis in figure.axes]
    return {
        "left": float(places[0].x0),
        "right": float(places[0].x1),
        "top": 1 - float(max(place.y1 for place in places)),
        "bottom": float(min(place.y0 for place in places)),
        "seconds": float(figure.axes[0].get_xlim()[1]),
    }


def _firings(shown: Shown) -> Drawings:
    audio = shown.material.audio
    spoken = [u for u in shown.data.keywords if u.keywords and u.utterance in audio]
    places = np.linspace(0, len(spoken) - 1, min(FIRINGS, len(spoken)) + 2)[1:-1].astype(int)
    for place in np.unique(places):
        utterance = spoken[place]
        samples, rate = soundfile.read(audio[utterance.utterance], always_2d=True)
        frame_seconds = None
        if utterance.alphas is not None:
            frame_seconds = read_frame_seconds(shown.data.directory)
        words = shown.words.get(utterance.utterance, [])
        figure = draw_firing(
            samples.mean(axis=1), rate, utterance, words=words, frame_seconds=frame_seconds
        )
        yield figure, utterance.utterance


def _ladder(shown: Shown) -> Drawings:
    if shown.ladder:
        yield draw_ladder(shown.ladder), None


def _recall_curves(shown: Shown) -> Drawings:
    yield draw_recall_curves(shown.ranks), None


def _training_curves(shown: Shown) -> Drawings:
    yield draw_training_curves(read_training_curves(shown.experiment)), None


def _layer_weights(shown: Shown) -> Drawings:
    weights = read_layer_weights(shown.data.directory)
    if weights is not None:
        yield draw_layer_weights(weights), None


def _attention_maps(shown: Shown) -> Drawings:
    for utterance, weights in read_attention(shown.data.directory, MAX_ATTENTION_MAPS).items():
        figure = draw_attention(
            weights,
            frame_seconds=read_frame_seconds(shown.data.directory),
            query_labels=_query_labels(weights, parallel="parallel" in shown.data.branches),
            words=shown.words.get(utterance, []),
            title=shown.material.captions.get(utterance, utterance),
        )
        yield figure, None


def _query_labels(weights: np.ndarray, *, parallel: bool) -> list[str]:
    """Names of an attention map's rows; none when they are frames."""
    queries, frames = weights.shape[1:]
    if queries == frames:
        return []
    names = ["utterance"] if parallel else []
    return names + [f"keyword {n + 1}" for n in range(queries - len(names))]


FIGURES = (
    Planned(
        "firing_{number}",
        "Where the cascaded branch fires ({number})",
        "A bar shows the speech that became a keyword. CIF adds up the weights alpha; each time "
        "the sum reaches 1, a keyword is complete.",
        "firings",
        _firings,
    ),
    Planned(
        "ladder",
        "Where retrieval by keywords loses recall",
        "Recall when CLIP's text tower reads the caption, less and less of it, and the model's "
        "keywords.",
        "ladder",
        _ladder,
    ),
    Planned(
        "recall_curves",
        "Recall@k",
        "The share of queries with a right answer among the first k, over k.",
        "recall-curves",
        _recall_curves,
    ),
    Planned(
        "training_curves",
        "Training",
        "What training and validation reported after each epoch.",
        "training-curves",
        _training_curves,
    ),
    Planned(
        "layer_weights",
        "What the model takes from each layer of the speech encoder",
        "The learned weights of the encoder's hidden states, which add up to 1.",
        "layer-weights",
        _layer_weights,
    ),
    Planned(
        "attention_{number}",
        "Where the model's queries look ({number})",
        "How much each row takes from each moment, for every attention head. A row is a learned "
        "query or, in a model without queries, a frame.",
        "attention-maps",
        _attention_maps,
    ),
)
