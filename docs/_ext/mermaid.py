"""Draws ``mermaid`` blocks of arrows (``graph TD``, ``a --> b``) as SVG inside the page.

GitHub draws these blocks with a script that it loads; the site draws the same text without one.
Nodes lie in layers, each above all that it points to; an arrow that spans several layers takes a
place of its own in those between.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

Arrow = tuple[str, str]
BOX, ROW, COLUMN, VIA = 34, 84, 26, 14  # pixels: a box's height, from layer to layer, gaps


class Mermaid(Directive):
    """The directive that a fenced ``mermaid`` block is read as."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The drawing."""
        lines = [line.strip() for line in self.content if line.strip()]
        arrows = [
            match.groups() for line in lines if (match := re.fullmatch(r"(\w+) --> (\w+)", line))
        ]
        if lines[0] != "graph TD" or len(arrows) != len(lines) - 1:
            raise self.error("only 'graph TD' with lines 'a --> b' is drawn here")
        return [nodes.raw("", draw(arrows), format="html")]


def draw(arrows: list[Arrow]) -> str:
    """An SVG element of these arrows, which must not go in circles."""
    height = _heights(arrows)
    layers, chains = _layers(arrows, height)
    _order(layers, chains)
    places, width = _places(layers)
    total = ROW * (len(layers) - 1) + BOX + 4
    parts = [
        f'<div class="arrows"><svg role="img" viewBox="0 0 {width:.0f} {total}" '
        f'style="max-width:{width:.0f}px"><defs>',
        '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 10 5 0 10z"/></marker></defs>',
    ]
    for chain in chains:
        parts.append(f'<path class="arrow" d="{_curve(chain, places)}" marker-end="url(#tip)"/>')
    for name in height:
        x, y = places[name]
        half = _half(name)
        parts.append(
            f'<rect x="{x - half:.0f}" y="{y}" width="{2 * half:.0f}" height="{BOX}" rx="6"/>'
            f'<text x="{x:.0f}" y="{y + BOX / 2 + 5:.0f}">{name}</text>'
        )
    return "".join([*parts, "</svg></div>"])


def _heights(arrows: list[Arrow]) -> dict[str, int]:
    """Longest way down from each node."""
    below: dict[str, list[str]] = {}
    for upper, lower in arrows:
        below.setdefault(upper, []).append(lower)
        below.setdefault(lower, [])

    def height(name: str) -> int:
        return 1 + max(map(height, below[name]), default=-1)

    return {name: height(name) for name in below}


def _layers(arrows: list[Arrow], height: dict[str, int]) -> tuple[list[list[str]], list[list[str]]]:
    """Names by layer from the top, with places for passing arrows, and the way of each arrow."""
    top = max(height.values())
    layers: list[list[str]] = [[] for _ in range(top + 1)]
    for name, above in height.items():
        layers[top - above].append(name)
    chains = []
    for upper, lower in arrows:
        chain = [upper]
        for passed in range(height[upper] - 1, height[lower], -1):
            chain.append(f"{upper}-{lower}-{passed}")  # no node's name holds a hyphen
            layers[top - passed].append(chain[-1])
        chains.append([*chain, lower])
    return layers, chains


def _order(layers: list[list[str]], chains: list[list[str]]) -> None:
    """Sorts each layer by where its neighbours lie, up and down, until little crosses."""
    above: dict[str, list[str]] = {}
    below: dict[str, list[str]] = {}
    for chain in chains:
        for upper, lower in zip(chain, chain[1:], strict=False):
            above.setdefault(lower, []).append(upper)
            below.setdefault(upper, []).append(lower)
    for _ in range(12):
        for neighbours, order in ((above, layers), (below, layers[::-1])):
            for fixed, moved in zip(order, order[1:], strict=False):
                middles = _middles(moved, fixed, neighbours)
                moved.sort(key=middles.__getitem__)


def _middles(
    moved: list[str], fixed: list[str], neighbours: dict[str, list[str]]
) -> dict[str, float]:
    """Where each name's neighbours lie in another layer, from 0 to 1; it lies there without any."""
    place = {name: index / len(fixed) for index, name in enumerate(fixed)}
    middles = {name: index / len(moved) for index, name in enumerate(moved)}
    for name in moved:
        places = [place[other] for other in neighbours.get(name, ()) if other in place]
        if places:
            middles[name] = sum(places) / len(places)
    return middles


def _half(name: str) -> float:
    return VIA / 2 if "-" in name else 4.2 * len(name) + 14


def _places(layers: list[list[str]]) -> tuple[dict[str, tuple[float, float]], float]:
    """Middle of the upper edge of each node, and the drawing's width."""
    widths = [
        sum(2 * _half(name) for name in layer) + COLUMN * (len(layer) - 1) for layer in layers
    ]
    width = max(widths) + 8
    places = {}
    for number, (layer, used) in enumerate(zip(layers, widths, strict=True)):
        gap = COLUMN + (width - 8 - used) / (len(layer) + 1)
        x = (width - used - (gap - COLUMN) * (len(layer) - 1)) / 2
        for name in layer:
            places[name] = (x + _half(name), 2.0 + ROW * number)
            x += 2 * _half(name) + gap
    return places, width


def _curve(chain: list[str], places: dict[str, tuple[float, float]]) -> str:
    """A line from the lower edge of the first to the upper edge of the last."""
    x, y = places[chain[0]]
    y += BOX
    path = f"M{x:.0f} {y:.0f}"
    for name in chain[1:]:
        next_x, next_y = places[name]
        bend = (next_y - y) / 2
        path += (
            f"C{x:.0f} {y + bend:.0f} {next_x:.0f} {next_y - bend:.0f} {next_x:.0f} {next_y:.0f}"
        )
        x, y = next_x, next_y
        if name != chain[-1]:
            path += f"V{y + BOX:.0f}"
            y += BOX
    return path


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
