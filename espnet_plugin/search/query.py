"""A query as one vector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.data.images import is_image, read_image
from espnet_plugin.data.speech_activity import NoSpeechError, spoken_part
from espnet_plugin.inference.readable import check_file, check_recording
from espnet_plugin.inference.utterance import read_utterance

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import Branch, SpeechCLIP


def combine(wanted: Sequence[np.ndarray], unwanted: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The sum of what is wanted less the sum of what is not, at unit length.

    The order of images by their cosine to it is the order by the sum of their cosines to what is
    wanted minus the sum of those to what is not.

    Args:
        wanted: Unit-length embeddings (dim,), at least one.
        unwanted: Likewise.

    Returns:
        (dim,), at unit length.

    Raises:
        ValueError: If nothing is wanted, or everything cancels out.
    """
    if not wanted:
        raise ValueError("nothing to search for: give something that is wanted")
    signs = np.array([1.0] * len(wanted) + [-1.0] * len(unwanted))
    query = signs @ np.stack([*wanted, *unwanted])  # (dim,)
    length = np.linalg.norm(query)
    if length < 1e-6 * len(signs):
        raise ValueError("what is wanted and what is not cancel out; leave one of them out")
    return query / length


@dataclass
class Query:
    """What is searched for: the sum of all embeddings, less those of what is unwanted.

    Attributes:
        recordings: Files.
        texts: Texts.
        images: Files.
        unwanted: Files of recordings or images, and texts.
        samples: A spoken query from the microphone, (samples,).
        rate: Of the samples in Hz.
    """

    recordings: Sequence[str] = ()
    texts: Sequence[str] = ()
    images: Sequence[str] = ()
    unwanted: Sequence[str] = ()
    samples: np.ndarray | None = None
    rate: int = 0

    def check(self, *, spoken: bool = False) -> None:
        """Decodes all files, before a model is loaded.

        Args:
            spoken: Whether samples are still to come.

        Raises:
            DataError: If a file cannot be used; the message names it.
            ValueError: If nothing is searched for.
        """
        if not (self.recordings or self.texts or self.images or spoken):
            raise ValueError("say what to look for: --wav, --text, --image or --mic")
        for file in self.recordings:
            check_recording(file)
        for file in self.images:
            read_image(file)
        for file in filter(os.path.isfile, self.unwanted):
            check_file(file)

    def vector(self, model: SpeechCLIP, branch: Branch | None = None) -> np.ndarray:
        """The query in a model's space, (dim,), at unit length.

        Args:
            model: The index's.
            branch: Of recordings, see :meth:`SpeechCLIP.encode_speech`.

        Raises:
            DataError: If a recording is silent.
            ValueError: If a text is empty, or everything cancels out.
        """
        wanted = [_recording(model, file, branch) for file in self.recordings]
        wanted += [_text(model, text) for text in self.texts]
        wanted += [model.encode_image(file)[0] for file in self.images]
        if self.samples is not None:
            wanted.append(_samples(model, self.samples, self.rate, branch))
        return combine(wanted, [_anything(model, what, branch) for what in self.unwanted])


def _recording(model: SpeechCLIP, path: str, branch: Branch | None) -> np.ndarray:
    rate = model.sampling_rate
    samples = read_utterance(
        path, sampling_rate=None, wanted_rate=rate, max_seconds=model.max_seconds
    )
    try:
        return _samples(model, samples, rate, branch)
    except NoSpeechError as error:
        raise NoSpeechError(f"{path}: {error}") from error


def _samples(
    model: SpeechCLIP, samples: np.ndarray, rate: int, branch: Branch | None
) -> np.ndarray:
    """Cuts the silence at both ends, which would count as part of the query."""
    part = spoken_part(samples, rate)
    speech = samples[part.start : part.end]
    return model.encode_speech(speech, sampling_rate=rate, branch=branch)[0]


def _text(model: SpeechCLIP, text: str) -> np.ndarray:
    if not text.strip():
        raise ValueError("an empty text looks for nothing")
    return model.encode_text(text)[0]


def _anything(model: SpeechCLIP, what: str, branch: Branch | None) -> np.ndarray:
    """Of a file, or of a text if there is no such file."""
    if not os.path.isfile(what):
        return _text(model, what)
    return model.encode_image(what)[0] if is_image(what) else _recording(model, what, branch)
