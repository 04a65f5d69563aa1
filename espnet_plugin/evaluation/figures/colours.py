"""One meaning for each colour, on the report's page and in its figures.

Colour-blind readers can tell Okabe and Ito's colours (2008) apart; the brown is an eighth. Grey
shows amounts: more is darker.
"""

from __future__ import annotations

from collections.abc import Collection

from espnet_plugin.evaluation.token_texts import is_content

PAPER, INK, GREY, PALE = "#FFFFFF", "#222222", "#8C8C8C", "#E8E8E8"
AXES, TICKS = "#666666", "#444444"
SIGNAL = "#5B6770"  # measured values that are neither right, wrong nor of a system
AMOUNT = "Greys"  # matplotlib's name of the colour map
RIGHT, RIGHT_FUNCTION, WRONG = "#0072B2", "#56B4E9", "#D55E00"
NOW = "#D81B60"  # the player's position
SYSTEMS = {
    "parallel": "#009E73",
    "cascaded": "#E69F00",
    "fusion": "#CC79A7",
    "asr": "#7A4A12",
    "teacher": INK,
    "chance": GREY,
}
KEYWORDS = {  # kind of a keyword → what it is, its colour
    "right": ("content word of the caption", RIGHT),
    "right-function": ("function word of it", RIGHT_FUNCTION),
    "wrong": ("not in the caption", WRONG),
    "function": ("function word, not in it", PALE),
}
IN_THE_DARK = {  # colour → its replacement on a dark page; the others stay
    PAPER: "#1B2025",
    INK: "#E6EAEE",
    PALE: "#3A424A",
    AXES: "#8F99A2",
    TICKS: "#C0C8CF",
    SIGNAL: "#A3AEB8",
    RIGHT: "#4BA3E3",
    RIGHT_FUNCTION: "#A5D8F7",
    WRONG: "#F0843C",
    NOW: "#FF5C9A",
    SYSTEMS["asr"]: "#B98042",
}
NEUTRAL = (INK, "#A89A00", GREY, SIGNAL)  # of curves without a system


def keyword_kind(token_id: int, token: str, caption: Collection[int]) -> str:
    """Which of ``KEYWORDS`` a keyword is.

    Args:
        token_id: Its token.
        token: The token's text.
        caption: Tokens of the caption.
    """
    if is_content(token):
        return "right" if token_id in caption else "wrong"
    return "right-function" if token_id in caption else "function"
