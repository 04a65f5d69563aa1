"""Draws a report's figures: the training, firings of a few utterances, the layers' weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from espnet_plugin.data.audio import read_header, read_mono
from espnet_plugin.data.inference_set import InferenceSet, read_frame_seconds, read_layer_weights
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.alignments import Word
from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.figures.firing import draw_firing
from espnet_plugin.evaluation.figures.layer_weights import draw_layer_weights
from espnet_plugin.evaluation.figures.learning_curve import draw_learning_curve
from espnet_plugin.evaluation.report.render import ReportFigure
from espnet_plugin.evaluation.training_log import Epoch
from espnet_plugin.utils.progress import counted

FIGURES_DIR = "figures"
FIRINGS = 3  # utterances drawn one by one


def draw_all(
    data: InferenceSet,
    epochs: Sequence[Epoch],
    audio: Mapping[str, str],
    words: Mapping[str, Sequence[Word]],
) -> list[ReportFigure]:
    """Writes every figure that the data allow to ``figures/`` in the set's directory.

    Utterances are taken at even distances from the list, not chosen by score.

    Args:
        data: Embeddings and keywords of the set.
        epochs: Epochs of the training; may be empty.
        audio: Recording of each utterance; may be empty.
        words: Word alignment of each utterance; may be empty.

    Returns:
        The figures that were drawn, in the order of the report.
    """
    drawn = []

    def add(name: str, figure: Figure, title: str, section: str, **more: str) -> None:
        svg = style.save(figure, data.directory / FIGURES_DIR / f"{name}.svg")
        drawn.append(ReportFigure(name, title, section, svg, **more))

    if epochs:
        title = f"{counted(len(epochs), 'epoch')} of training"
        add("learning_curve", draw_learning_curve(epochs), title, "learning-curve")
    for number, (utterance, figure) in enumerate(_firings(data, audio, words), 1):
        said = f"“{utterance.caption}”" if utterance.caption else utterance.utterance
        title = f"{counted(len(utterance.keywords), 'keyword')} of {said}"
        add(f"firing_{number}", figure, title, "firings", utterance=utterance.utterance)
    weights = read_layer_weights(data.directory)
    if weights is not None:
        title = f"Weights of {counted(len(weights), 'hidden state')} of the speech encoder"
        add("layer_weights", draw_layer_weights(weights), title, "layer-weights")
    return drawn


def _firings(
    data: InferenceSet, audio: Mapping[str, str], words: Mapping[str, Sequence[Word]]
) -> Iterator[tuple[UtteranceKeywords, Figure]]:
    spoken = [u for u in data.captioned_keywords if u.keywords and u.utterance in audio]
    places = np.linspace(0, len(spoken) - 1, min(FIRINGS, len(spoken)) + 2)[1:-1].astype(int)
    for place in np.unique(places):
        utterance = spoken[place]
        recording, said = audio[utterance.utterance], words.get(utterance.utterance, ())
        try:
            seconds = None if utterance.alphas is None else read_frame_seconds(data.directory)
            yield utterance, draw_recording(recording, {"keywords": utterance}, said, seconds)
        except (OSError, RuntimeError, ValueError) as error:
            logging.warning(f"no figure of {utterance.utterance}'s firings: {error}")


def draw_recording(
    recording: str,
    heard: Mapping[str, UtteranceKeywords],
    words: Sequence[Word],
    frame_seconds: float | None = None,
) -> Figure:
    """Draws a recording by ``draw_firing``."""
    rate = read_header(recording).rate
    samples = read_mono(recording, rate)
    return draw_firing(samples, rate, heard, words=words, frame_seconds=frame_seconds)
