"""The page's answers as HTML; the templates escape whatever they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from espnet_plugin.demo.backend import Backend, Heard
from espnet_plugin.demo.captions import Caption, SpokenCaptions
from espnet_plugin.demo.timeline import (
    COLUMNS,
    PIXELS_PER_SECOND,
    accumulation_path,
    firing_places,
    place_labels,
    ticks,
    waveform_path,
)
from espnet_plugin.demo.uploads import Limits
from espnet_plugin.search.index import Hit

WORDS = 12  # of those that the model knows
HERE = Path(__file__).parent
KeyOf = Callable[[str], str]


@lru_cache(maxsize=1)
def _macros() -> Any:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja").module


def head(backend: Backend, limits: Limits) -> str:
    """What the page is, what the model knows, and over what it looks."""
    pictures = None if backend.index is None else len(backend.index)
    words = backend.known_words()
    return str(
        _macros().head(pictures, limits.seconds, limits.size_text, words[:WORDS], len(words))
    )


def examples(captions: SpokenCaptions) -> str:
    """Recordings of the captions to click."""
    shown = [
        {"position": position, "name": caption.text or caption.utterance}
        for position in captions.examples()
        for caption in [captions.captions[position]]
    ]
    return str(_macros().examples(shown))


def notice(sentence: str) -> str:
    """Says what is wrong."""
    return str(_macros().notice(sentence))


def timeline(heard: Heard, *, player: str, caption: int | None = None) -> str:
    """A clip with its keywords and firings.

    Args:
        heard: What the model made of it.
        player: Id of the element on the page that plays it.
        caption: Position of the caption that it is, which brings its player along.
    """
    seconds = len(heard.samples) / heard.rate
    labels = place_labels(heard.keywords or (), seconds=seconds)
    clip: dict[str, Any] = {
        "player": player,
        "caption": caption,
        "start": 100 * heard.start / seconds,
        "end": 100 * heard.end / seconds,
        "seconds": seconds,
        "columns": COLUMNS,
        "waveform": waveform_path(heard.samples),
        "words": None if heard.keywords is None else [asdict(word) for word in heard.keywords],
        "labels": labels,
        "lanes": 1 + max((label.lane for label in labels), default=0),
        "ticks": ticks(seconds),
    }
    if heard.alphas is not None and len(heard.alphas):
        frames = seconds / heard.frame_seconds  # the clip's end is a little after the last frame's
        begin = heard.start / heard.frame_seconds
        places = firing_places(heard.alphas, threshold=heard.threshold)
        clip |= {
            "frames": frames,
            "begin": begin,
            "accumulation": accumulation_path(heard.alphas, threshold=heard.threshold),
            "firings": [100 * (begin + place) / frames for place in places],
        }
    return str(_macros().timeline(clip, round(seconds * PIXELS_PER_SECOND)))


def gallery(hits: Sequence[Hit], *, asked: str, offered: bool, key_of: KeyOf) -> str:
    """Pictures, best first.

    Args:
        hits: What was found.
        asked: What they are near to.
        offered: Whether the page has captions.
        key_of: What a picture is fetched by.
    """
    pictures = [_picture(hit.path, key_of) | {"score": hit.score} for hit in hits]
    return str(_macros().gallery(pictures, asked, offered))


def detail(
    picture: str, captions: Sequence[tuple[int, Caption, float]], *, offered: bool, key_of: KeyOf
) -> str:
    """A picture and the captions closest to it.

    Args:
        picture: The file.
        captions: Position, caption and cosine of each.
        offered: Whether the page has captions.
        key_of: What a picture is fetched by.
    """
    real = Path(picture).resolve()
    rows = [
        {
            "position": position,
            "text": caption.text,
            "utterance": caption.utterance,
            "score": score,
            "own": caption.picture is not None and Path(caption.picture).resolve() == real,
        }
        for position, caption, score in captions
    ]
    return str(_macros().detail(_picture(picture, key_of), rows, offered))


def _picture(path: str, key_of: KeyOf) -> dict[str, Any]:
    # names that are not UTF-8 are shown as well as they can be
    name = Path(path).name.encode(errors="surrogateescape").decode(errors="replace")
    return {"key": key_of(path), "name": name}
