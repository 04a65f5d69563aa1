"""Draws the figures of the docs from what the package's own functions compute."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure

from espnet_plugin.evaluation.figures import colours, style
from espnet_plugin.evaluation.retrieval import rank_embeddings
from espnet_plugin.speechclip.cif import fire
from espnet_plugin.speechclip.keywords import find_runs
from espnet_plugin.speechclip.quantizer import TokenQuantizer

# Three words of 20 ms frames with pauses between them; the last is not said to its end.
ALPHAS = (
    *(0.05, 0.15, 0.3, 0.35, 0.2, 0.05, 0.0, 0.0),
    *(0.1, 0.3, 0.35, 0.2, 0.05, 0.0, 0.0),
    *(0.1, 0.2, 0.25, 0.1),
)
TOKENS = {"dog": (1.0, 0.2), "puppy": (0.9, 0.5), "ball": (-0.2, 1.0), "grass": (-0.9, 0.3)}
KEYWORD = (0.95, 0.28)
TEMPERATURES = (1.0, 0.1, 0.02)
SLOT_COLOURS = (colours.RIGHT, "#E69F00", "#009E73")  # one each, told apart by colour-blind too


def firing() -> Figure:
    """How weights are summed up, and which frame goes into which slot."""
    of_slots, output = fire(torch.tensor([ALPHAS]), tail_threshold=0.5, max_slots=3)
    alphas = output.alphas[0].numpy()
    shares = of_slots[0].numpy()  # (slots, frames)
    frames = np.arange(len(alphas))
    figure = style.new_figure(5.4)
    upper, middle, lower = figure.subplots(3, 1, sharex=True)
    upper.bar(frames, alphas, color=colours.SIGNAL)
    upper.set(title="1. a weight α for every frame", ylabel="α")
    total = alphas.cumsum()
    middle.plot(np.append(-0.5, frames + 0.5), np.append(0, total), color=colours.INK)
    middle.set(title="2. their running sum: each whole number fires, and a rest of at least 0.5",
               ylabel="Σ α", yticks=range(4), ylim=(0, 3.3))  # fmt: skip
    for frame in np.flatnonzero(output.fired[0].numpy()):
        for axis in (upper, middle):
            axis.axvline(frame, color=colours.INK, linewidth=1.2, linestyle=":")
        middle.plot(frame, total[frame] + 0.2, "v", color=colours.INK, markersize=9)
    bottom = np.zeros(len(frames))
    for number, (row, colour) in enumerate(zip(shares, SLOT_COLOURS, strict=True)):
        lower.bar(frames, row, bottom=bottom, color=colour, label=f"segment {number + 1}")
        bottom += row
    lower.set(title="3. what each segment is made of: its shares add up to 1", ylabel="share",
              xlabel="frame of 20 ms", xticks=frames[::2], ylim=(0, 0.55))  # fmt: skip
    lower.legend(ncols=3, loc="upper right")
    return figure


def quantizing() -> Figure:
    """Cosines of a keyword with a table of four sub-words, and what a temperature makes of them."""
    quantizer = TokenQuantizer().eval()
    table = torch.tensor(list(TOKENS.values()))
    similarities = quantizer(torch.tensor([[KEYWORD]]), table).similarities[0, 0]
    figure = style.new_figure(2.9)
    axes = figure.subplots(1, 1 + len(TEMPERATURES))
    bars = [
        colours.RIGHT if row == similarities.argmax() else colours.GREY for row in range(len(table))
    ]
    axes[0].barh(list(TOKENS), similarities, color=bars)
    axes[0].set(title="cosine", xlim=(-1, 1.1))
    for axis, temperature in zip(axes[1:], TEMPERATURES, strict=True):
        axis.barh(list(TOKENS), (similarities / temperature).softmax(0), color=bars)
        axis.set(title=f"temperature {temperature:g}", xlim=(0, 1), yticklabels=())
    for axis in axes:
        axis.invert_yaxis()
    return figure


def annealing() -> Figure:
    """What the text tower reads of six segments as the temperature falls, and after merging."""
    angles = torch.tensor([0.3, 0.2, 1.2, 1.8, 1.6, 2.4])
    keywords = torch.stack([angles.cos(), angles.sin()], dim=1)[None]  # (1, segments, 2)
    quantized = TokenQuantizer().eval()(keywords, torch.tensor(list(TOKENS.values())))
    temperatures = (0.2, 0.05, 0.01)
    mixtures = [(quantized.similarities[0] / t).softmax(dim=1) for t in temperatures]
    runs = find_runs(quantized.rows, torch.tensor([len(angles)]))
    panels = {f"temperature {t:g}": m for t, m in zip(temperatures, mixtures, strict=True)}
    panels["merged"] = runs.mean(mixtures[-1][None])[0]
    figure = style.new_figure(2.6)
    axes = figure.subplots(
        1, len(panels), width_ratios=[len(panel) for panel in panels.values()], sharey=True
    )
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        axis.imshow(panel.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axis.set(title=title, xlabel="keyword", xticks=range(len(panel)),
                 xticklabels=range(1, len(panel) + 1))  # fmt: skip
        axis.grid(False)
    axes[0].set_yticks(range(len(TOKENS)), list(TOKENS))
    return figure


def ranking() -> Figure:
    """Four utterances, four images: the ranks that recall counts."""
    generator = np.random.default_rng(3)
    images = np.linalg.qr(generator.normal(size=(6, 4)))[0].T.astype(np.float32)  # (4, 6)
    noise = generator.normal(size=images.shape).astype(np.float32)
    speech = images + 0.62 * noise
    speech /= np.linalg.norm(speech, axis=1, keepdims=True)
    ids = np.arange(4)
    ranks = rank_embeddings(speech, images, ids, ids)[0].rank
    cosines = speech @ images.T
    figure = style.new_figure(3.4)
    axis = figure.subplots()
    cells = axis.imshow(cosines, cmap="Blues", vmin=-0.3, vmax=1.0)
    for row in ids:
        for column in ids:
            dark = cosines[row, column] > 0.5
            weight = "bold" if row == column else "normal"
            axis.text(column, row, f"{cosines[row, column]:.2f}", ha="center", va="center",
                      color="white" if dark else colours.INK, fontweight=weight)  # fmt: skip
        axis.text(4.0, row, f"rank {ranks[row]}", va="center",
                  color=colours.INK if ranks[row] == 1 else colours.WRONG)  # fmt: skip
    axis.set(xticks=ids, yticks=ids, xticklabels=[f"image {i + 1}" for i in ids],
             yticklabels=[f"utterance {i + 1}" for i in ids])  # fmt: skip
    axis.grid(False)
    figure.colorbar(cells, label="cosine", pad=0.22)
    return figure


FIGURES = {"annealing": annealing, "firing": firing, "quantizing": quantizing, "ranking": ranking}


def main(directory: Path) -> None:
    """Writes every figure as SVG."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, draw in FIGURES.items():
        with style.style(), rc_context({"svg.fonttype": "none"}):  # letters stay letters
            drawn = io.StringIO()
            draw().savefig(drawn, format="svg", metadata={"Date": None})
        lines = (line.rstrip() for line in drawn.getvalue().splitlines())
        (directory / f"{name}.svg").write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "figures")
