"""One meaning for each colour, on the report's page and in its figures.

Colour-blind readers can tell Okabe and Ito's colours (2008) apart.
"""

from __future__ import annotations

from collections.abc import Collection

from espnet_plugin.evaluation.token_texts import is_content

PAPER, INK, GREY, PALE = "#FFFFFF", "#222222", "#8C8C8C", "#E8E8E8"
AXES, TICKS = "#666666", "#444444"
SIGNAL = "#5B6770"  # measured values that are neither right, wrong nor of a system
RIGHT, RIGHT_FUNCTION, WRONG = "#0072B2", "#56B4E9", "#D55E00"
SYSTEMS = {
    "parallel": "#009E73",
    "cascaded": "#E69F00",
    "fusion": "#CC79A7",
    "teacher": INK,
    "chance": GREY,
}
KEYWORDS = {  # kind of a keyword → what it is, its colour
    "right": ("content word of the caption", RIGHT),
    "right-function": ("function word of it", RIGHT_FUNCTION),
    "wrong": ("not in the caption", WRONG),
    "function": ("function word, not in it", PALE),
}


def keyword_kind(token_id: int, token: str, caption: Collection[int]) -> str:
    """Which of ``KEYWORDS`` a keyword is.

    Args:
        token_id: Id of the keyword's token.
        token: Text of the token.
        caption: Token ids of the caption.
    """
    if is_content(token):
        return "right" if token_id in caption else "wrong"
    return "right-function" if token_id in caption else "function"
