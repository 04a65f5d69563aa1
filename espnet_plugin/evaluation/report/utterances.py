"""Draws a few utterances over time, with the words that are said and heard in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from markupsafe import Markup

from espnet_plugin.data.inference_set import InferenceSet, read_frame_seconds
from espnet_plugin.data.keyword_file import UtteranceKeywords
from espnet_plugin.data.words import END_OF_WORD, SpokenWord
from espnet_plugin.evaluation.figures import colours
from espnet_plugin.evaluation.figures.timeline import Weights, draw_timeline
from espnet_plugin.evaluation.report.render import DrawnUtterance
from espnet_plugin.media.audio import read_header, read_mono
from espnet_plugin.utils.progress import counted

UTTERANCES = 3  # drawn one by one


def draw_utterances(
    data: InferenceSet,
    audio: Mapping[str, str],
    words: Mapping[str, Sequence[SpokenWord]],
    *,
    threshold: float,
) -> Iterator[DrawnUtterance]:
    """Draws three utterances whose keywords have places.

    They are taken at even distances from the list, not chosen by score.

    Args:
        data: Embeddings and keywords of the set.
        audio: Recording of each utterance; may be empty.
        words: Word alignment of each utterance; may be empty.
        threshold: CIF's weight that completes a keyword.
    """
    placed = [
        u
        for u in data.captioned_keywords
        if u.utterance in audio and any(k.start is not None for k in u.keywords)
    ]
    places = np.linspace(0, len(placed) - 1, min(UTTERANCES, len(placed)) + 2)[1:-1].astype(int)
    for place in np.unique(places):
        utterance = placed[place]
        said = f"“{utterance.caption}”" if utterance.caption else utterance.utterance
        title = f"{counted(len(utterance.keywords), 'keyword')} of {said}"
        recording, spoken = audio[utterance.utterance], words.get(utterance.utterance, ())
        try:
            weights = None
            if utterance.alphas is not None:
                seconds = read_frame_seconds(data.directory)
                weights = Weights(np.asarray(utterance.alphas), seconds, threshold)
            drawing = draw_recording(recording, {"heard": utterance}, spoken, weights)
        except (OSError, RuntimeError, ValueError) as error:
            logging.warning(f"{utterance.utterance} is not drawn: {error}")
            continue
        yield DrawnUtterance(utterance.utterance, title, drawing)


def draw_recording(
    recording: str,
    heard: Mapping[str, UtteranceKeywords],
    words: Sequence[SpokenWord] = (),
    weights: Weights | None = None,
) -> Markup:
    """Draws a recording, the words that are said in it, and the keywords of each model.

    Args:
        recording: Its file.
        heard: Keywords of each model, by the title of their row.
        words: Words that are said, with their times, if they are known.
        weights: CIF's weights of the last model, if they are drawn.
    """
    rate = read_header(recording).rate
    rows = {"said": [(word, "") for word in words]} if words else {}
    rows |= {title: _timed(utterance) for title, utterance in heard.items()}
    return draw_timeline(read_mono(recording, rate), rate, rows, weights=weights)


def _timed(utterance: UtteranceKeywords) -> list[tuple[SpokenWord, str]]:
    caption = set(utterance.caption_ids or ())
    return [
        (
            SpokenWord(k.token.removesuffix(END_OF_WORD), k.score, k.start, k.end),
            colours.keyword_kind(k.token_id, k.token, caption),
        )
        for k in utterance.keywords
        if k.start is not None and k.end is not None
    ]
