"""The page's answers as HTML; the templates escape every value."""

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
    """Title, the words that the model knows, and how many images it searches."""
    images = None if backend.index is None else len(backend.index)
    words = backend.known_words()
    return str(_macros().head(images, limits.seconds, limits.size_text, words[:WORDS], len(words)))


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
    """A recording with its keywords and firings.

    Args:
        heard: What the model found in it.
        player: Id of the element on the page that plays it.
        caption: Position of the caption that it is, whose player is added.
    """
    seconds = len(heard.samples) / heard.rate
    labels = place_labels(heard.keywords or (), seconds=seconds)
    shown: dict[str, Any] = {
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
        frames = seconds / heard.frame_seconds  # a little more than the model's
        begin = heard.start / heard.frame_seconds
        places = firing_places(heard.alphas, threshold=heard.threshold)
        shown |= {
            "frames": frames,
            "begin": begin,
            "accumulation": accumulation_path(heard.alphas, threshold=heard.threshold),
            "firings": [100 * (begin + place) / frames for place in places],
        }
    return str(_macros().timeline(shown, round(seconds * PIXELS_PER_SECOND)))


def gallery(hits: Sequence[Hit], *, asked: str, offered: bool, key_of: KeyOf) -> str:
    """Images, best first.

    Args:
        hits: What was found.
        asked: The query, for the heading.
        offered: Whether the page has captions.
        key_of: See :meth:`Media.key_of`.
    """
    images = [_image(hit.path, key_of) | {"score": hit.score} for hit in hits]
    return str(_macros().gallery(images, asked, offered))


def detail(
    image: str, captions: Sequence[tuple[int, Caption, float]], *, offered: bool, key_of: KeyOf
) -> str:
    """An image and the captions closest to it.

    Args:
        image: The file.
        captions: Position, caption and cosine of each.
        offered: Whether the page has captions.
        key_of: See :meth:`Media.key_of`.
    """
    real = Path(image).resolve()
    rows = [
        {
            "position": position,
            "text": caption.text,
            "utterance": caption.utterance,
            "score": score,
            "own": caption.image is not None and Path(caption.image).resolve() == real,
        }
        for position, caption, score in captions
    ]
    return str(_macros().detail(_image(image, key_of), rows, offered))


def _image(path: str, key_of: KeyOf) -> dict[str, Any]:
    # not every name is UTF-8
    name = Path(path).name.encode(errors="surrogateescape").decode(errors="replace")
    return {"key": key_of(path), "name": name}
