"""Answers the demo page's questions: keywords of a recording, the nearest images and captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.apps.demo.captions import Caption, SpokenCaptions, embed_captions, read_captions
from espnet_plugin.apps.demo.uploads import VisitorError
from espnet_plugin.apps.search.index import Hit, Index
from espnet_plugin.apps.search.model import identify_model
from espnet_plugin.data.english import content_words
from espnet_plugin.data.words import SpokenWord, later

if TYPE_CHECKING:
    from PIL.Image import Image

    from espnet_plugin.inference.speechclip import SpeechCLIP

TOP_IMAGES = 12
TOP_RECORDINGS = 5
TOP_CAPTIONS = 5


@dataclass(frozen=True)
class SpokenQuestion:
    """A recording, what the model finds in it, and what is nearest to it.

    Attributes:
        samples: Samples of the recording, (samples,), at ``rate``.
        rate: Sampling rate in Hz.
        start: Second at which the speech begins; the silence before it is left out.
        end: Second at which the speech ends; the silence after it is left out.
        keywords: Words in their order, or None if the model extracts none.
        keywords_end: Second at which the keywords end before the speech does, because the model
            keeps a limited number; None if they cover all of it.
        alphas: CIF's weight of each frame from ``start`` on, (frames,), or None without CIF.
        frame_seconds: Seconds from one frame to the next.
        threshold: Weight that completes a keyword.
        branch: Branch that ranks the hits, or ``both``, or None without an index.
        hits: The nearest images, then the nearest windows of recordings, best first.
    """

    samples: np.ndarray
    rate: int
    start: float
    end: float
    keywords: list[SpokenWord] | None
    keywords_end: float | None
    alphas: np.ndarray | None
    frame_seconds: float
    threshold: float
    branch: str | None
    hits: list[Hit]


@dataclass(frozen=True)
class Backend:
    """A model, and the index and captions that it searches.

    The page's queue asks one question at a time.

    Attributes:
        model: Model that answers the questions.
        fingerprint: The model's, as an index notes it.
        index: Index of images and recordings; without it there are keywords only.
        captions: Spoken captions, or None if none are shown.
    """

    model: SpeechCLIP
    fingerprint: str
    index: Index | None = None
    captions: SpokenCaptions | None = None

    @property
    def rate(self) -> int:
        """Sampling rate in Hz that the model takes."""
        return self.model.sampling_rate

    def known_words(self) -> list[str]:
        """Whole words of the keyword vocabulary without function words, in its order."""
        model = self.model.model
        if model.keyword_branch is None:
            return []
        return content_words(map(model.clip.token_text, model.keyword_branch.vocabulary.ids))

    def hear(self, samples: np.ndarray) -> SpokenQuestion:
        """Finds keywords and hits for a recording, (samples,) at :attr:`rate`.

        Raises:
            NoSpeechError: If the recording is silent, white noise, or too short for a word.
        """
        places = self.model.windows(samples)
        first, last = places[0][0], places[-1][1]
        start = first / self.rate
        result = self.model(samples[first:last], start=start)
        words = None if result.keywords is None else later(self.model.words(result), seconds=start)
        branch = self.model.model.keyword_branch
        if words is not None and len(places) > 1:  # an index hears each window by itself
            words = self.model.keywords(samples)
        return SpokenQuestion(
            samples=samples,
            rate=self.rate,
            start=start,
            end=last / self.rate,
            keywords=words,
            keywords_end=None if result.keywords_end is None else start + result.keywords_end,
            alphas=result.alphas,
            frame_seconds=self.model.frame_seconds,
            threshold=1.0 if branch is None else getattr(branch.extractor, "threshold", 1.0),
            branch=None if self.index is None else self.model.branch or self.model.branches[0],
            hits=self._nearest(self.model.row(result)),
        )

    def find_text(self, text: str) -> list[Hit]:
        """Finds what is nearest to a text, as in :attr:`SpokenQuestion.hits`."""
        return self._nearest(self.model.encode_text(text)[0])

    def find_image(self, image: str | Image, *, without: str | None = None) -> list[Hit]:
        """Finds what is nearest to an image, a file or decoded, without one of the index."""
        return self._nearest(self.model.encode_image(image)[0], without=without)

    def closest_captions(self, image: str) -> list[tuple[Caption, float]]:
        """The captions closest to an image file, with their cosines."""
        if self.captions is None:
            return []
        return self.captions.closest(self.model.encode_image(image)[0], top=TOP_CAPTIONS)

    def _nearest(self, query: np.ndarray, *, without: str | None = None) -> list[Hit]:
        if self.index is None:
            return []
        if self.index.model.fingerprint != self.fingerprint:
            raise VisitorError(
                "The images were indexed again with another model. Start this demo again."
            )
        recordings = self.index.search(query, top=TOP_RECORDINGS, kind="recording")
        images = self.index.search(query, top=TOP_IMAGES + 1, kind="image")
        return [hit for hit in images if hit.path != without][:TOP_IMAGES] + recordings


def open_backend(
    load: Callable[[str], SpeechCLIP],
    *,
    model: str | None,
    index: Index | None,
    data: Path | None,
) -> Backend:
    """Loads an index's model, and embeds the captions of a data directory.

    Args:
        load: Function that loads a model by its name.
        model: Name of the model, by default the index's.
        index: Index to search; without it there are keywords only.
        data: Data directory with the captions; without it there are none.

    Raises:
        DataError: If the index is of another model, or the data directory is damaged.
        ValueError: If neither an index nor a model is given.
    """
    found = read_captions(data) if data else []
    if index is not None:
        identity = index.model_at_hand(model)
    elif model:
        identity = identify_model(model)
    else:
        raise ValueError("give --index, --model, or both")
    loaded = load(identity.name)
    captions = embed_captions(found, loaded) if found else None
    return Backend(loaded, identity.fingerprint, index=index, captions=captions)
