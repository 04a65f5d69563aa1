"""What is asked for as one vector."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.data.images import is_image, read_image
from espnet_plugin.data.speech_activity import NoSpeechError, spoken_part
from espnet_plugin.inference.readable import check_file, check_recording
from espnet_plugin.inference.utterance import read_utterance

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import Branch, SpeechCLIP


def combine(wanted: Sequence[np.ndarray], unwanted: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The direction of what is wanted, less what is not.

    q = Σ wanted − Σ unwanted, at unit length: pictures are ranked by the sum of their cosines to
    what is wanted minus that to what is unwanted, and their score is the cosine to q.

    Args:
        wanted: Unit-length embeddings (dim,), at least one.
        unwanted: Likewise.

    Returns:
        (dim,), at unit length.

    Raises:
        ValueError: When nothing is wanted, or it all cancels out.
    """
    if not wanted:
        raise ValueError("nothing to search for: give something that is wanted")
    signs = np.array([1.0] * len(wanted) + [-1.0] * len(unwanted))
    query = signs @ np.stack([*wanted, *unwanted])  # (dim,)
    length = np.linalg.norm(query)
    if length < 1e-6 * len(signs):
        raise ValueError("what is wanted and what is not cancel out; leave one of them away")
    return query / length


def check_files(
    recordings: Sequence[str], pictures: Sequence[str], unwanted: Sequence[str] = ()
) -> None:
    """Decodes what is asked for, before a model is loaded.

    Args:
        recordings: Files.
        pictures: Files.
        unwanted: Files and texts.

    Raises:
        DataError: When a file cannot be used; the message names it.
    """
    for file in recordings:
        check_recording(file)
    for file in pictures:
        read_image(file)
    for file in filter(os.path.isfile, unwanted):
        check_file(file)


class Embedder:
    """Embeds queries of every kind by one model, each as (dim,).

    Args:
        model: Whose space it is.
        branch: Of recordings, see :meth:`SpeechCLIP.encode_speech`.
    """

    def __init__(self, model: SpeechCLIP, *, branch: Branch | None = None) -> None:
        self.model = model
        self.branch = branch

    def recording(self, path: str) -> np.ndarray:
        """Of what is said in a recording.

        Raises:
            DataError: When it cannot be read, or is silent.
        """
        rate = self.model.sampling_rate
        samples = read_utterance(
            path, sampling_rate=None, wanted_rate=rate, max_seconds=self.model.max_seconds
        )
        try:
            return self.samples(samples, sampling_rate=rate)
        except NoSpeechError as error:
            raise NoSpeechError(f"{path}: {error}") from error

    def samples(self, samples: np.ndarray, *, sampling_rate: int) -> np.ndarray:
        """Of what is said in samples (samples,), at a rate in Hz.

        Silence before and after it is cut: it would count as part of the query.

        Raises:
            NoSpeechError: When they are silent.
        """
        part = spoken_part(samples, sampling_rate)
        return self.model.encode_speech(
            samples[part.start : part.end], sampling_rate=sampling_rate, branch=self.branch
        )[0]

    def picture(self, path: str) -> np.ndarray:
        """Of a picture."""
        return self.model.encode_image(path)[0]

    def text(self, text: str) -> np.ndarray:
        """Of a text.

        Raises:
            ValueError: When it is empty.
        """
        if not text.strip():
            raise ValueError("an empty text looks for nothing")
        return self.model.encode_text(text)[0]

    def anything(self, what: str) -> np.ndarray:
        """Of a file with a picture or a recording, or of a text if there is no such file."""
        if not os.path.isfile(what):
            return self.text(what)
        return self.picture(what) if is_image(what) else self.recording(what)
