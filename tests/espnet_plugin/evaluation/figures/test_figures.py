"""Every figure draws what it is given; how it looks was judged by eye."""

from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.evaluation.training_log import Epoch

pytest.importorskip("matplotlib")

from espnet_plugin.evaluation.figures import (  # noqa: E402
    colours,
    layer_weights,
    learning_curve,
    style,
)


def test_colours_of_keywords():
    caption = {1, 2}
    tokens = ((2, "dog</w>"), (1, "a</w>"), (3, "cat</w>"), (4, "of</w>"))
    kinds = [colours.keyword_kind(token_id, token, caption) for token_id, token in tokens]
    assert kinds == list(colours.KEYWORDS)


def test_a_colour_means_one_thing():
    meanings = [*colours.SYSTEMS.values(), *(colour for _, colour in colours.KEYWORDS.values())]
    meanings.append(colours.SIGNAL)
    assert len(set(meanings)) == len(meanings)


def test_layer_weights():
    figure = layer_weights.draw_layer_weights(np.array([0.2, 0.5, 0.3]))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.2, 0.5, 0.3]
    with pytest.raises(ValueError, match="softmax"):
        layer_weights.draw_layer_weights(np.zeros(3))


def test_saving_leaves_settings_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    path = tmp_path / "x" / "a.b.svg"
    assert style.save(layer_weights.draw_layer_weights(np.array([1.0])), path) == path
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.b.svg"]
    assert dict(matplotlib.rcParams) == before


def test_dollars_in_a_title_are_no_formula(tmp_path):
    figure = layer_weights.draw_layer_weights(np.array([1.0]))
    with style.style():
        figure.suptitle(r"it costs $\frac{ and 5$")
    assert style.save(figure, tmp_path / "weights.svg").is_file()


def test_the_learning_curve_has_a_line_for_each_loss_and_branch():
    valid = {"loss": 2.0, "parallel_recall_mean_at_1": 0.25}
    epochs = [Epoch(1, {"loss": 3.0}, valid), Epoch(2, {"loss": 2.0}, {**valid, "loss": 1.5})]
    losses, recalls = learning_curve.draw_learning_curve(epochs).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in losses.get_lines()}
    assert lines == {"training": [3.0, 2.0], "dev": [2.0, 1.5]}
    (line,) = recalls.get_lines()
    assert list(line.get_ydata()) == [0.25, 0.25]
    alone = learning_curve.draw_learning_curve([Epoch(1, {"loss": 3.0}, {})])
    assert len(alone.axes) == 1
