"""Draws the figures of one set: firings of a few utterances, and the layers' weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import soundfile
from matplotlib.figure import Figure

from espnet_plugin.data.alignments import Word
from espnet_plugin.data.inference_set import InferenceSet, read_frame_seconds, read_layer_weights
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.figures.firing import draw_firing
from espnet_plugin.evaluation.figures.layer_weights import draw_layer_weights
from espnet_plugin.evaluation.report.render import ReportFigure

FIGURES_DIR = "figures"
FIRINGS = 3  # utterances drawn one by one


def draw_all(
    data: InferenceSet, audio: Mapping[str, str], words: Mapping[str, Sequence[Word]]
) -> list[ReportFigure]:
    """Writes every figure that the data allow to ``figures/`` in the set's directory.

    Utterances are taken at even distances from the list, not chosen by score.

    Args:
        data: The set.
        audio: Recording of each utterance; may be empty.
        words: Word alignment of each utterance; may be empty.

    Returns:
        What was drawn, in the order of the report.
    """
    folder = data.directory / FIGURES_DIR
    drawn = []
    for number, (utterance, figure) in enumerate(_firings(data, audio, words), 1):
        name = f"firing_{number}"
        drawn.append(
            ReportFigure(
                name,
                f"Where the cascaded branch fires ({number})",
                "A bar shows the speech that became a keyword. CIF adds up the weights alpha; each "
                "time the sum reaches 1, a keyword is complete.",
                "firings",
                style.save(figure, folder / f"{name}.svg"),
                utterance,
            )
        )
    weights = read_layer_weights(data.directory)
    if weights is not None:
        drawn.append(
            ReportFigure(
                "layer_weights",
                "What the model takes from each layer of the speech encoder",
                "The learned weights of the encoder's hidden states, which add up to 1.",
                "layer-weights",
                style.save(draw_layer_weights(weights), folder / "layer_weights.svg"),
            )
        )
    return drawn


def _firings(
    data: InferenceSet, audio: Mapping[str, str], words: Mapping[str, Sequence[Word]]
) -> Iterator[tuple[str, Figure]]:
    spoken = [u for u in data.keywords if u.keywords and u.utterance in audio]
    places = np.linspace(0, len(spoken) - 1, min(FIRINGS, len(spoken)) + 2)[1:-1].astype(int)
    for place in np.unique(places):
        utterance = spoken[place]
        try:
            yield utterance.utterance, _firing(data, utterance, audio, words)
        except (OSError, RuntimeError, ValueError) as error:
            logging.warning(f"no figure of {utterance.utterance}'s firings: {error}")


def _firing(
    data: InferenceSet,
    utterance: UtteranceKeywords,
    audio: Mapping[str, str],
    words: Mapping[str, Sequence[Word]],
) -> Figure:
    samples, rate = soundfile.read(audio[utterance.utterance], always_2d=True)
    return draw_firing(
        samples.mean(axis=1),
        rate,
        utterance,
        words=words.get(utterance.utterance, []),
        frame_seconds=None if utterance.alphas is None else read_frame_seconds(data.directory),
    )
