"""Every figure draws what it is given; how it looks was judged by eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords
from espnet_plugin.evaluation.alignments import Word
from espnet_plugin.evaluation.training_log import Epoch

pytest.importorskip("matplotlib")

from espnet_plugin.evaluation.figures import (  # noqa: E402
    colours,
    firing,
    layer_weights,
    learning_curve,
    style,
)

SPOKEN = UtteranceKeywords(
    "u",
    "a dog",
    (1, 2),
    (Keyword(2, "dog</w>", (2,), 0.0, 0.5), Keyword(3, "cat</w>", (3,), 0.5, 1.0)),
    seconds=1.0,
    alphas=tuple([0.04] * 50),
    fired=(24, 49),
)


def texts(figure) -> set[str]:
    return {text.get_text() for axis in figure.axes for text in axis.texts}


def test_firing_shows_words_and_keywords():
    samples = np.random.default_rng(0).uniform(-1, 1, 16000)
    figure = firing.draw_firing(
        samples,
        16000,
        {"keywords": SPOKEN},
        words=[Word("a", 0.0, 0.2), Word("dog", 0.2, 1.0)],
        frame_seconds=0.02,
    )
    assert {"a", "dog", "cat"} <= texts(figure)
    assert len(figure.axes[2].get_lines()) >= 2


@pytest.mark.parametrize("frame_seconds", [0.01, 0.02])
def test_firings_stand_where_their_frames_are(frame_seconds):
    heard = {"keywords": SPOKEN}
    figure = firing.draw_firing(np.zeros(16000), 16000, heard, frame_seconds=frame_seconds)
    places = {float(line.get_xdata()[0]) for line in figure.axes[1].get_lines()[1:]}
    assert places == {24.5 * frame_seconds, 49.5 * frame_seconds}
    with pytest.raises(ValueError, match="weights need frame_seconds"):
        firing.draw_firing(np.zeros(16000), 16000, heard)


def test_firing_without_alphas_or_alignment():
    keywords = tuple(Keyword(1, "a</w>", (1,)) for _ in range(8))
    queries = UtteranceKeywords("u", "a dog", (1, 2), keywords, seconds=0.5)
    figure = firing.draw_firing(np.zeros(8000), 16000, {"keywords": queries})
    assert len(figure.axes) == 2
    assert "from learned queries: in order, without a place in time" in texts(figure)


def test_what_several_models_heard_is_drawn_in_rows():
    heard = {"hybrid+": replace(SPOKEN, alphas=None, fired=()), "hybrid+ annealed": SPOKEN}
    figure = firing.draw_firing(np.zeros(16000), 16000, heard, frame_seconds=0.02)
    titles = [axis.get_ylabel() for axis in figure.axes]
    assert titles == ["kHz", "hybrid+", "alpha", "hybrid+\nannealed"]
    assert [{text.get_text() for text in figure.axes[row].texts} for row in (1, 3)] == [
        {"dog", "cat"},
        {"dog", "cat"},
    ]


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


def test_dollars_in_a_caption_are_no_formula(tmp_path):
    spoken = replace(SPOKEN, caption=r"it costs $\frac{ and 5$")
    figure = firing.draw_firing(np.ones(16000), 16000, {"keywords": spoken}, frame_seconds=0.02)
    assert style.save(figure, tmp_path / "firing.svg").is_file()


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
