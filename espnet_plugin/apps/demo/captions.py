"""Spoken captions of a data directory, shown beside the images that they are closest to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import SpeechCLIP

EXAMPLES = 4


@dataclass(frozen=True)
class Caption:
    """A recording and what is said in it.

    Attributes:
        utterance: Id of the utterance.
        text: Words that are said, or empty if the set has no text.
        recording: Path of the recording.
        image: Path of the image that it describes, without links, or None if it is not listed.
    """

    utterance: str
    text: str
    recording: str
    image: str | None


@dataclass(frozen=True)
class SpokenCaptions:
    """Captions and their embeddings, (captions, dim)."""

    captions: list[Caption]
    embeddings: np.ndarray

    def examples(self) -> list[Caption]:
        """A few captions from all over the set, which have a text if any of the set have one."""
        chosen = [caption for caption in self.captions if caption.text] or self.captions
        return chosen[:: -(-len(chosen) // EXAMPLES)]

    def closest(self, image: np.ndarray, *, top: int) -> list[tuple[Caption, float]]:
        """The captions closest to an image (dim,), best first, with their cosines."""
        scores = self.embeddings @ image
        order = np.argsort(-scores, kind="stable")[:top].tolist()
        return [(self.captions[position], float(scores[position])) for position in order]


def read_captions(directory: Path) -> list[Caption]:
    """Reads the captions of a data directory; relative paths start at the working directory.

    Raises:
        DataError: If there is no ``wav.scp``, or a table is damaged.
    """
    recordings = read_scp(directory / "wav.scp")
    texts, utt2image, images = (
        read_scp(directory / name) if (directory / name).is_file() else {}
        for name in ("text", "utt2image", "image.scp")
    )
    if not recordings:
        raise DataError(f"{directory / 'wav.scp'}: empty")
    captions = []
    for utterance, recording in recordings.items():
        image = images.get(utt2image.get(utterance, ""))
        path = os.path.realpath(image) if image else None
        text = texts.get(utterance, "")
        captions.append(Caption(utterance, text, os.path.abspath(recording), path))
    return captions


def embed_captions(captions: list[Caption], model: SpeechCLIP) -> SpokenCaptions:
    """Embeds captions; unusable recordings are left out.

    Args:
        captions: Captions that :func:`read_captions` found.
        model: Model that embeds them.

    Raises:
        DataError: If no recording can be used.
    """
    skipped: dict[int, str] = {}
    rows = model.encode_speech([caption.recording for caption in captions], skipped=skipped)
    kept = [caption for number, caption in enumerate(captions) if number not in skipped]
    if not kept:
        raise DataError(
            f"usable recordings: 0 of {len(captions)}; start in the folder where their paths begin"
        )
    return SpokenCaptions(kept, rows)
