"""Every figure draws what it is given; how it looks was judged by eye."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from espnet_plugin.data.alignments import Word
from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords

pytest.importorskip("matplotlib")

from espnet_plugin.evaluation.figures import (  # noqa: E402
    attention,
    colours,
    firing,
    layer_weights,
    recall,
    style,
    training_curves,
)
from tests.ranks import rank_scores  # noqa: E402

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
        SPOKEN,
        words=[Word("a", 0.0, 0.2), Word("dog", 0.2, 1.0)],
        frame_seconds=0.02,
    )
    assert {"a", "dog", "cat"} <= texts(figure)
    assert len(figure.axes[2].get_lines()) >= 2


@pytest.mark.parametrize("frame_seconds", [0.01, 0.02])
def test_firings_stand_where_their_frames_are(frame_seconds):
    figure = firing.draw_firing(np.zeros(16000), 16000, SPOKEN, frame_seconds=frame_seconds)
    places = {float(line.get_xdata()[0]) for line in figure.axes[1].get_lines()[1:]}
    assert places == {24.5 * frame_seconds, 49.5 * frame_seconds}
    with pytest.raises(ValueError, match="frame_seconds is needed"):
        firing.draw_firing(np.zeros(16000), 16000, SPOKEN)


def test_firing_without_alphas_or_alignment():
    keywords = tuple(Keyword(1, "a</w>", (1,)) for _ in range(8))
    queries = UtteranceKeywords("u", "a dog", (1, 2), keywords, seconds=0.5)
    figure = firing.draw_firing(np.zeros(8000), 16000, queries)
    assert len(figure.axes) == 2
    assert "from learned queries: in order, without a place in time" in texts(figure)


def test_colours_of_keywords():
    caption = {1, 2}
    tokens = ((2, "dog</w>"), (1, "a</w>"), (3, "cat</w>"), (4, "of</w>"))
    kinds = [colours.keyword_kind(token_id, token, caption) for token_id, token in tokens]
    assert kinds == list(colours.KEYWORDS)


def test_a_colour_means_one_thing():
    meanings = [*colours.SYSTEMS.values(), *(colour for _, colour in colours.KEYWORDS.values())]
    meanings += [colours.SIGNAL, colours.NOW]
    assert len(set(meanings)) == len(meanings)
    assert not {colours.RIGHT, colours.WRONG, colours.NOW} & set(colours.NEUTRAL)


def test_recall_curves():
    forth, back = rank_scores(np.eye(4), range(4), range(4))
    figure = recall.draw_recall_curves(
        {"parallel": {"speech_to_image": forth, "image_to_speech": back}}
    )
    line = figure.axes[0].get_lines()[0]
    assert line.get_ydata().tolist() == [100.0] * 4
    assert figure.axes[0].get_lines()[1].get_ydata().tolist() == [25.0, 50.0, 75.0, 100.0]


def test_recall_is_in_percent_and_a_branch_keeps_its_colour():
    measures = {
        "loss": {"valid": [(1, 3.0)]},
        "parallel_recall_mean_at_1": {"valid": [(1, 0.25)]},
        "parallel_recall_mean_at_10": {"valid": [(1, 0.5)]},
    }
    figure = training_curves.draw_training_curves(measures)
    lines = figure.axes[1].get_lines()
    assert [line.get_ydata().tolist() for line in lines] == [[25.0], [50.0]]
    assert {line.get_color() for line in lines} == {colours.SYSTEMS["parallel"]}


def test_training_curves():
    figure = training_curves.draw_training_curves(
        {"loss": {"train": [(1, 2.0)], "valid": [(1, 3.0)]}, "optim0_lr0": {"train": [(1, 1e-4)]}}
    )
    assert len(figure.axes) == 1
    with pytest.raises(ValueError, match="no measure to draw"):
        training_curves.draw_training_curves({"iter_time": {"train": [(1, 0.1)]}})


def test_layer_weights():
    figure = layer_weights.draw_layer_weights(np.array([0.2, 0.5, 0.3]))
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.2, 0.5, 0.3]
    with pytest.raises(ValueError, match="softmax"):
        layer_weights.draw_layer_weights(np.zeros(3))


def test_ladder():
    scores = {"recall@1": 0.5, "recall@10": 0.75}
    scores["intervals"] = {"recall@1": (0.4, 0.6), "recall@10": (0.7, 0.8)}
    figure = recall.draw_ladder({"steps": {"caption": scores, "keywords": scores}})
    assert {"50.0", "75.0"} <= texts(figure)


def test_attention():
    figure = attention.draw_attention(
        np.full((3, 2, 10), 0.1), frame_seconds=0.01, query_labels=["one", "two"]
    )
    assert sum(axis.get_visible() for axis in figure.axes) == 3
    assert figure.axes[0].get_xlim() == (0, 0.1)


def test_saving_writes_both_formats_and_leaves_settings_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    path = style.save(layer_weights.draw_layer_weights(np.array([1.0])), tmp_path / "x" / "a.b")
    assert path == tmp_path / "x" / "a.b.png"
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["a.b.png", "a.b.svg"]
    assert dict(matplotlib.rcParams) == before


def test_dollars_in_a_caption_are_no_formula(tmp_path):
    spoken = replace(SPOKEN, caption=r"it costs $\frac{ and 5$")
    figure = firing.draw_firing(np.ones(16000), 16000, spoken, frame_seconds=0.02)
    assert style.save(figure, tmp_path / "firing").is_file()
