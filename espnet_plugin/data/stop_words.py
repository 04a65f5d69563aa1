"""English function words, which content-word scores leave out.

A short list for image captions: articles, pronouns, prepositions, conjunctions, auxiliaries and a
few adverbs without visible content. Words of place ("near", "behind") are in it; numbers, colours
and sizes are not, because they describe. A token is a stop word if it is a whole word of the list
("a</w>", not the "a" that begins another word), or holds no letter or digit (punctuation).
"""

from __future__ import annotations

from collections.abc import Iterable

STOP_WORDS = frozenset(
    """
    a an the this that these those some any each every another other both all

    i me my mine we us our you your he him his she her hers it its they them their theirs
    himself herself itself themselves who whom whose which what

    where when while as and or but nor so if than then because

    of to in on at by for from with without into onto over under above below between among
    through across along around about

    against near behind beside besides beyond inside outside off out up down upon toward towards
    next via within

    is are was were be been being am has have had having do does did doing done
    can could will would shall should may might must

    not no very too also just only there here such 's 't 'd 'm 're 've 'll
    """.split()
)


def is_stop_word(word: str) -> bool:
    """Whether a whole word is a function word or only punctuation."""
    word = word.casefold().replace("’", "'")
    return word in STOP_WORDS or not any(letter.isalnum() for letter in word)


def content_words(tokens: Iterable[str]) -> list[str]:
    """CLIP's tokens that are whole words ("dog</w>") without stop words, in their order."""
    words = [token.removesuffix("</w>") for token in tokens if token.endswith("</w>")]
    return [word for word in words if not is_stop_word(word)]
