"""Draws all figures of one set.

One that cannot be drawn, and a damaged file that it would show, is left out with a warning.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from matplotlib.figure import Figure

from espnet_plugin.data.alignments import WORDS_CTM, Word, read_ctm
from espnet_plugin.data.inference_set import (
    ATTENTION,
    LAYER_WEIGHTS,
    InferenceSet,
    read_attention,
    read_frame_seconds,
    read_layer_weights,
)
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.figures.attention import draw_attention
from espnet_plugin.evaluation.figures.firing import draw_firing
from espnet_plugin.evaluation.figures.gallery import draw_gallery
from espnet_plugin.evaluation.figures.keyword_table import draw_keyword_table
from espnet_plugin.evaluation.figures.layer_weights import draw_layer_weights
from espnet_plugin.evaluation.figures.recall import draw_ladder, draw_recall_curves
from espnet_plugin.evaluation.figures.similarity import draw_similarity
from espnet_plugin.evaluation.figures.training_curves import draw_training_curves
from espnet_plugin.evaluation.queries import search
from espnet_plugin.evaluation.report.material import Material
from espnet_plugin.evaluation.report.report_figure import ReportFigure, Timeline
from espnet_plugin.evaluation.scores.retrieval import Ranks
from espnet_plugin.evaluation.training_log import read_training_curves

FIGURES_DIR = "figures"
EXAMPLES = 3  # utterances drawn one by one
MAX_ATTENTION_MAPS = 2
PAIRS = 12  # of the similarity matrix


@dataclass(frozen=True)
class Shown:
    """What the figures show; their arguments are those of :func:`draw_all`."""

    data: InferenceSet
    ranks: Ranks
    material: Material
    experiment: Path
    words: Mapping[str, Sequence[Word]] = field(default_factory=dict)
    ladder: Mapping | None = None

    @property
    def branch(self) -> str | None:
        """The first branch of the model: parallel, where there is one."""
        return next(iter(self.data.branches), None)

    @property
    def spoken(self) -> list[UtteranceKeywords]:
        """Utterances in which the model heard anything."""
        return [utterance for utterance in self.data.keywords if utterance.keywords]


class Drawing(NamedTuple):
    """A figure that can be drawn.

    Attributes:
        draw: Draws it.
        utterance: The utterance that it draws over time, if it does.
    """

    draw: Callable[[], Figure]
    utterance: str | None = None


@dataclass(frozen=True)
class Planned:
    """A row of the table of figures.

    Attributes:
        name: Of its files, without suffix; ``{number}`` counts where there are several.
        title: A few words; ``{number}`` and ``{branch}`` are filled in.
        meaning: How to read it.
        section: Heading in docs/evaluation.md that says more, as in its address.
        drawings: What can be drawn from what there is: nothing, one figure or several.
    """

    name: str
    title: str
    meaning: str
    section: str
    drawings: Callable[[Shown], Sequence[Drawing]]


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
    words = _read(data_dir, WORDS_CTM, read_ctm)
    shown = Shown(data, ranks, material, experiment, words, ladder)
    drawn = []
    for planned in FIGURES:
        for number, (draw, utterance) in enumerate(planned.drawings(shown), 1):
            name = planned.name.format(number=number)
            try:
                figure = draw()
                png = style.save(figure, data.directory / FIGURES_DIR / name)
            except Exception as error:  # whatever it is, no figure is worth the results
                logging.warning(f"figure {name} is left out: {type(error).__name__}: {error}")
                continue
            drawn.append(
                ReportFigure(
                    name,
                    planned.title.format(number=number, branch=shown.branch),
                    planned.meaning,
                    planned.section,
                    png,
                    utterance=utterance,
                    timeline=None if utterance is None else _timeline(figure),
                )
            )
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


def _firings(shown: Shown) -> list[Drawing]:
    recorded = [u for u in shown.spoken if u.utterance in shown.material.audio]
    return [
        Drawing(partial(_firing, shown, utterance), utterance.utterance)
        for utterance in _spread(recorded, EXAMPLES)
    ]


def _firing(shown: Shown, utterance: UtteranceKeywords) -> Figure:
    audio = shown.material.audio[utterance.utterance]
    if audio.endswith("|"):
        raise ValueError(f"{utterance.utterance}: the waveform is a pipe, not a file")
    samples, rate = soundfile.read(audio, dtype="float32", always_2d=True)
    return draw_firing(
        samples.mean(axis=1),
        rate,
        utterance,
        words=shown.words.get(utterance.utterance, []),
        frame_seconds=(
            None if utterance.alphas is None else read_frame_seconds(shown.data.directory)
        ),
    )


def _keywords(shown: Shown) -> list[Drawing]:
    rows = _spread(shown.spoken, 6)
    image_of = dict(zip(shown.data.utterances, shown.data.image_of, strict=True))
    pictures = [shown.material.pictures.get(image_of.get(u.utterance, "")) for u in rows]
    return [Drawing(partial(draw_keyword_table, rows, pictures))] if shown.data.keywords else []


def _ladder(shown: Shown) -> list[Drawing]:
    return [Drawing(partial(draw_ladder, shown.ladder))] if shown.ladder else []


def _gallery(shown: Shown) -> list[Drawing]:
    captions, pictures = shown.material.captions, shown.material.pictures
    if not (shown.branch and pictures and captions):
        return []
    asked = _spread([row for row, u in enumerate(shown.data.utterances) if u in captions], 5)
    return [
        Drawing(
            lambda: draw_gallery(list(search(shown.data, shown.ranks, asked)), captions, pictures)
        )
    ]


def _recall_curves(shown: Shown) -> list[Drawing]:
    return [Drawing(partial(draw_recall_curves, shown.ranks))]


def _training_curves(shown: Shown) -> list[Drawing]:
    return [Drawing(lambda: draw_training_curves(read_training_curves(shown.experiment)))]


def _layer_weights(shown: Shown) -> list[Drawing]:
    directory = shown.data.directory
    if not (directory / LAYER_WEIGHTS).exists():
        return []
    return [Drawing(lambda: draw_layer_weights(read_layer_weights(directory)))]


def _attention_maps(shown: Shown) -> list[Drawing]:
    maps = _read(shown.data.directory, ATTENTION, _read_maps)
    return [Drawing(partial(_attention, shown, *item)) for item in maps.items()]


def _attention(shown: Shown, utterance: str, weights: np.ndarray) -> Figure:
    return draw_attention(
        weights,
        frame_seconds=read_frame_seconds(shown.data.directory),
        query_labels=_query_labels(weights, parallel="parallel" in shown.data.branches),
        words=shown.words.get(utterance, []),
        title=shown.material.captions.get(utterance, utterance),
    )


def _similarities(shown: Shown) -> list[Drawing]:
    return [Drawing(partial(_similarity, shown))] if shown.branch else []


def _similarity(shown: Shown) -> Figure:
    data, captions, pictures = shown.data, shown.material.captions, shown.material.pictures
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
    return read_attention(path.parent, MAX_ATTENTION_MAPS)


def _spread(items: Sequence, number: int) -> list:
    if not items:
        return []
    places = np.unique(
        np.linspace(0, len(items) - 1, min(number, len(items)) + 2)[1:-1].astype(int)
    )
    return [items[place] for place in places]


FIGURES = (
    Planned(
        "firing_{number}",
        "Where the cascaded branch fires ({number})",
        "Each keyword's bar shows the stretch of the speech that it was made from. With CIF, the "
        "weights alpha are added up along the speech, and each time that they reach 1 a keyword is "
        "complete.",
        "firings",
        _firings,
    ),
    Planned(
        "keywords",
        "Keywords that the model hears",
        "Under each spoken caption stand the keywords that the model drew from its sound.",
        "keywords-beside-captions",
        _keywords,
    ),
    Planned(
        "ladder",
        "Where retrieval by keywords is lost",
        "Recall when CLIP's text tower reads the caption, less and less of it, and what the model "
        "said; below, how often the captions' content words are named.",
        "ladder",
        _ladder,
    ),
    Planned(
        "gallery",
        "Pictures found by speech ({branch} branch)",
        "Each spoken caption with the pictures nearest to it, their rank and cosine; the right one "
        "is framed, and stands last where it is not among them.",
        "gallery",
        _gallery,
    ),
    Planned(
        "recall_curves",
        "Recall@k",
        "The share of queries that find what belongs to them among the first k, over k.",
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
        "How much each row, a learned query or, in a model without any, a frame, takes from each "
        "moment of the speech, for every head of the attention block.",
        "attention-maps",
        _attention_maps,
    ),
    Planned(
        "similarity",
        "Similarities of the {branch} branch",
        "Cosines of some spoken captions (rows) with their pictures (columns): those of a good "
        "model are highest in the outlined cells.",
        "similarities",
        _similarities,
    ),
)
