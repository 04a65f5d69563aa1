"""One meaning for each colour, on the report's page and in its figures.

They are the colours of Okabe and Ito (2008), which colour-blind readers can tell apart, and a brown
for want of an eighth. How much of something there is, is grey: more is darker.
"""

from __future__ import annotations

from collections.abc import Collection

from espnet_plugin.evaluation.token_texts import is_content

INK, GREY, PALE = "#222222", "#8C8C8C", "#E8E8E8"
SIGNAL = "#5B6770"  # measured values that are neither right nor wrong, nor a system's
AMOUNT = "Greys"  # matplotlib's name of the colour map
RIGHT, WRONG = "#0072B2", "#D55E00"
NOW = "#D81B60"  # the moment that is heard
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
    "right-function": ("function word of it", "#56B4E9"),
    "wrong": ("not in the caption", WRONG),
    "function": ("function word, not in it", PALE),
}
NEUTRAL = (INK, "#A89A00", GREY, SIGNAL)  # of curves that belong to no system


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
