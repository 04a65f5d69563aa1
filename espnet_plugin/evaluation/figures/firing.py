"""Draws where the cascaded branch fires: spectrogram, words above, keywords below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from scipy.signal import spectrogram

from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.alignments import Word
from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.token_texts import END_OF_WORD

_INKS = {  # of a keyword's letters; a pale colour is in its bar only
    "right": colours.RIGHT,
    "right-function": colours.INK,
    "wrong": colours.WRONG,
    "function": colours.GREY,
}


def draw_firing(
    samples: np.ndarray,
    sampling_rate: int,
    heard: Mapping[str, UtteranceKeywords],
    *,
    words: Sequence[Word] = (),
    frame_seconds: float | None = None,
) -> Figure:
    """Draws one utterance with the weights alpha, the firings and the keywords.

    Args:
        samples: Samples of the waveform, (samples,).
        sampling_rate: Sampling rate of ``samples`` in Hz.
        heard: Keywords of the utterance by the title of their row, a row for each model.
        words: Words of the utterance with their times, which are drawn above if they are known.
        frame_seconds: Time from one frame of the alphas to the next; needed if there are any.

    Raises:
        ValueError: If there are alphas but no time between them.
    """
    seconds = len(samples) / sampling_rate
    heights: dict[tuple[str, str], float] = {("words", ""): 0.30} if words else {}
    heights["spectrogram", ""] = 1.5
    for title, utterance in heard.items():
        if utterance.alphas is not None:
            if frame_seconds is None:
                raise ValueError(f"{utterance.utterance}: weights need frame_seconds to be drawn")
            heights["alphas", title] = 1.0
        heights["keywords", title] = 0.5
    with style.style():
        figure = style.new_figure(1.45 * sum(heights.values()) + 0.8)
        grid = figure.subplots(
            len(heights), 1, sharex=True, gridspec_kw={"height_ratios": list(heights.values())}
        )
        axes = dict(zip(heights, grid, strict=True))
        for (kind, title), axis in axes.items():
            if kind == "words":
                _draw_words(axis, words, seconds)
            elif kind == "spectrogram":
                _draw_spectrogram(axis, samples, sampling_rate)
            elif kind == "alphas":
                _draw_alphas(axis, heard[title], frame_seconds)
            else:
                _draw_keywords(axis, heard[title], seconds)
                axis.set_ylabel(title.replace(" ", "\n"))
            for word in words if kind in ("spectrogram", "alphas") else ():
                axis.axvline(word.start, color=colours.GREY, linewidth=0.7, linestyle=":")
            axis.grid(False)
            axis.set_xlim(0, seconds)
            axis.tick_params(labelbottom=axis is grid[-1], bottom=axis is grid[-1])
            axis.spines["bottom"].set_visible(axis is grid[-1])
        grid[-1].set_xlabel("time (s)")
        _draw_legend(figure, fired=any(utterance.fired for utterance in heard.values()))
        figure.align_ylabels(grid[bool(words) :])
    return figure


def _draw_words(axis: Axes, words: Sequence[Word], seconds: float) -> None:
    axis.set(ylim=(0, 1), yticks=[])
    axis.set_ylabel("words", rotation=0, ha="right", va="center")
    axis.spines["left"].set_visible(False)
    for word in words:
        axis.axvspan(word.start, word.end, 0.06, 0.94, color=colours.PALE, linewidth=0)
        axis.axvline(word.start, color="white", linewidth=2)
    for word in words:
        width = 0.0105 * seconds * len(word.text)  # at size 10
        axis.text(
            (word.start + word.end) / 2,
            0.5,
            word.text,
            ha="center",
            va="center",
            fontsize=max(6.0, min(10.0, 10.0 * (word.end - word.start) / max(width, 1e-9))),
        )


def _draw_spectrogram(axis: Axes, samples: np.ndarray, sampling_rate: int) -> None:
    window = int(0.025 * sampling_rate)
    *_, power = spectrogram(
        samples,
        sampling_rate,
        window="hann",
        nperseg=window,
        noverlap=window - int(0.005 * sampling_rate),
        nfft=max(1024, window),
    )  # (bins, frames)
    decibel = 10 * np.log10(power + 1e-14)
    image = axis.imshow(
        decibel - decibel.max(),
        origin="lower",
        aspect="auto",
        cmap="Greys",
        vmin=-70,
        vmax=0,
        extent=(0, len(samples) / sampling_rate, 0, sampling_rate / 2000),
    )
    axis.set(ylabel="kHz", ylim=(0, min(8, sampling_rate / 2000)))
    bar = axis.figure.colorbar(
        image, cax=axis.inset_axes((1.01, 0, 0.012, 1)), ticks=(-60, -30, 0), label="dB"
    )
    bar.outline.set_visible(False)


def _draw_alphas(axis: Axes, utterance: UtteranceKeywords, frame_seconds: float) -> None:
    axis.set_ylabel("alpha")
    alphas = np.asarray(utterance.alphas)
    time = (np.arange(len(alphas)) + 0.5) * frame_seconds
    axis.fill_between(time, alphas, step="mid", color=colours.SIGNAL, alpha=0.3, linewidth=0)
    axis.step(time, alphas, where="mid", color=colours.SIGNAL, linewidth=1.2)
    axis.set_ylim(0, max(0.2, float(alphas.max()) * 1.15) if len(alphas) else 1.0)
    crowded = len(utterance.fired) > 25
    for frame in utterance.fired:
        place = (frame + 0.5) * frame_seconds
        axis.axvline(place, color=colours.INK, linewidth=0.8 if crowded else 1.4)
        axis.plot(
            place,
            axis.get_ylim()[1],
            "v",
            color=colours.INK,
            markersize=5 if crowded else 7,
            clip_on=False,
        )


def _draw_keywords(axis: Axes, utterance: UtteranceKeywords, seconds: float) -> None:
    axis.set(ylim=(0, 1), yticks=[])
    caption = set(utterance.caption_ids)
    placed = all(word.start is not None and word.end is not None for word in utterance.keywords)
    for index, keyword in enumerate(utterance.keywords):
        kind = colours.keyword_kind(keyword.token_id, keyword.token, caption)
        even = seconds / len(utterance.keywords)  # learned queries have no place in time
        start = keyword.start if placed else index * even
        end = keyword.end if placed else (index + 1) * even
        if placed:
            axis.axvspan(start, end, 0.88, 0.98, color=colours.KEYWORDS[kind][1], linewidth=0)
            axis.axvline(end, 0.86, 1.0, color="white", linewidth=2)
        axis.text(
            (start + end) / 2,
            0.82,
            keyword.token.removesuffix(END_OF_WORD),
            rotation=-35,
            rotation_mode="anchor",
            va="top",
            fontsize=9 if len(utterance.keywords) <= 12 else 7.5,
            color=_INKS[kind],
            fontweight="bold" if kind == "right" else "normal",
        )
    if not placed:
        axis.text(
            0.5,
            0.1,
            "from learned queries: in order, without a place in time",
            transform=axis.transAxes,
            ha="center",
            color=colours.SIGNAL,
            fontsize=9,
        )


def _draw_legend(figure: Figure, *, fired: bool) -> None:
    handles: list = [
        Patch(color=colour, label=meaning) for meaning, colour in colours.KEYWORDS.values()
    ]
    if fired:
        marker = {"marker": "v", "color": colours.INK, "linewidth": 1.4, "markersize": 6}
        handles.append(Line2D([], [], label="keyword complete", **marker))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        fontsize=9,
        handlelength=1.0,
        columnspacing=1.4,
        handletextpad=0.5,
    )
