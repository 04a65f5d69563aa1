"""Draws a report's figures: the training and the layers' weights."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from espnet_plugin.data.inference_set import InferenceSet, read_layer_weights
from espnet_plugin.evaluation.figures import style
from espnet_plugin.evaluation.figures.layer_weights import draw_layer_weights
from espnet_plugin.evaluation.figures.learning_curve import draw_learning_curve
from espnet_plugin.evaluation.report.render import ReportFigure
from espnet_plugin.evaluation.training_log import Epoch
from espnet_plugin.utils.progress import counted

FIGURES_DIR = "figures"


def draw_figures(data: InferenceSet, epochs: Sequence[Epoch]) -> list[ReportFigure]:
    """Writes the figures that the data allow to ``figures/`` in the set's directory.

    Args:
        data: Embeddings and keywords of the set.
        epochs: Epochs of the training; may be empty.

    Returns:
        The figures that were drawn, in the order of the report.
    """
    drawn = []

    def add(name: str, figure: Figure, title: str, section: str) -> None:
        svg = style.save(figure, data.directory / FIGURES_DIR / f"{name}.svg")
        drawn.append(ReportFigure(name, title, section, svg))

    if epochs:
        title = f"{counted(len(epochs), 'epoch')} of training"
        add("learning_curve", draw_learning_curve(epochs), title, "learning-curve")
    weights = read_layer_weights(data.directory)
    if weights is not None:
        title = f"Weights of {counted(len(weights), 'hidden state')} of the speech encoder"
        add("layer_weights", draw_layer_weights(weights), title, "layer-weights")
    return drawn
