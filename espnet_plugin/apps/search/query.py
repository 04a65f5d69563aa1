"""A query as one vector, and the words that were heard in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.files import require_files

if TYPE_CHECKING:
    from espnet_plugin.data.words import SpokenWord
    from espnet_plugin.inference.speechclip import Branch, SpeechCLIP
    from espnet_plugin.media.utterance import Utterance


@dataclass
class Query:
    """What is searched for.

    Attributes:
        vector: The sum of the embeddings of all that is searched for, (dim,). The order of images
            by their cosine to it is the order by the sum of their cosines to each.
        heard: Function for each recording that gives its words; None if the model gives none. It
            takes another pass, and CLIP's tokenizer, whose import takes a second.
    """

    vector: np.ndarray
    heard: list[Callable[[], list[SpokenWord]] | None] = field(default_factory=list)

    def words(self) -> list[str] | None:
        """The words in its recordings, or None if the model gives none."""
        given = [words for words in self.heard if words is not None]
        if len(given) < len(self.heard):
            return None
        return [heard.word for words in given for heard in words()]


def check_query(
    recordings: Sequence[str], texts: Sequence[str], images: Sequence[str], *, spoken: bool
) -> None:
    """Looks for all files, before a model is loaded.

    Args:
        recordings: Paths of recordings.
        texts: Texts to search for.
        images: Paths of images.
        spoken: Whether a query will also be recorded from the microphone.

    Raises:
        DataError: If a file is missing; the message names it.
        ValueError: If nothing is searched for, or a text is empty.
    """
    if not (recordings or texts or images or spoken):
        raise ValueError("say what to look for: --wav, --text, --image or --mic")
    if not all(map(str.strip, texts)):
        raise ValueError("an empty text looks for nothing")
    require_files([*recordings, *images])


def embed_query(
    model: SpeechCLIP,
    recordings: Sequence[str],
    texts: Sequence[str],
    images: Sequence[str],
    *,
    spoken: np.ndarray | None = None,
    branch: Branch | None = None,
) -> Query:
    """Embeds all that is searched for.

    Args:
        model: Model of the index.
        recordings: Paths of recordings.
        texts: Texts to search for.
        images: Paths of images.
        spoken: Samples that :func:`~espnet_plugin.apps.search.microphone.record` recorded.
        branch: Branch that embeds recordings, see :meth:`SpeechCLIP.encode_speech`.

    Raises:
        DataError: If a file cannot be used, or a recording is silent.
    """
    asked: list[tuple[Utterance, int | None]] = [(file, None) for file in recordings]
    asked += [] if spoken is None else [(spoken, SAMPLING_RATE)]
    rows = [model.encode_speech(o, sampling_rate=rate, branch=branch)[0] for o, rate in asked]
    rows += [model.encode_text(text)[0] for text in texts]
    rows += [model.encode_image(file)[0] for file in images]
    says = "cascaded" in model.branches
    words = (partial(model.keywords, speech, sampling_rate=rate) for speech, rate in asked)
    return Query(np.sum(rows, axis=0), [each if says else None for each in words])
