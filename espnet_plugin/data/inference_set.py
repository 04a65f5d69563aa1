"""Read and check the files that inference writes for one data set.

A set's directory holds ``utterances.txt`` and ``images.txt`` (one id a line, in the order of the
arrays' rows), ``utt2image``, and L2-normalised embeddings ``speech_parallel.npy``,
``speech_cascaded.npy``, ``text.npy`` (utterances, dim) and ``image.npy`` (images, dim); a file is
absent when the model has no such branch. ``keywords.jsonl`` holds the keywords,
``utt2recordings`` the recordings of utterances that are put together from some.
``frame_seconds.txt`` holds the time from one frame of the speech encoder to the next,
``layer_weights.npy`` the softmax weights of its layers. ``set_outputs.py`` writes all this,
``utterances.txt`` last: a directory that has it is complete.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.datadir import RECORDINGS
from espnet_plugin.data.keyword_file import UtteranceKeywords, read_keywords
from espnet_plugin.data.scp import read_scp

UTTERANCES, IMAGES, UTT2IMAGE = "utterances.txt", "images.txt", "utt2image"
IMAGE = "image.npy"
# Embeddings of utterances: their name in InferenceSet and their file.
UTTERANCE_ARRAYS = {
    "parallel": "speech_parallel.npy",
    "cascaded": "speech_cascaded.npy",
    "text": "text.npy",
}
KEYWORDS = "keywords.jsonl"
FRAME_SECONDS = "frame_seconds.txt"
LAYER_WEIGHTS = "layer_weights.npy"


@dataclass(frozen=True)
class InferenceSet:
    """Embeddings and ids of one data set; the arrays are memory-mapped.

    Attributes:
        directory: Directory that they were read from.
        utterances: Utterance ids, in row order.
        images: Image ids, in row order; empty if no image was embedded.
        image_of: Image id of each utterance; may be empty strings if there are no images.
        image: Embeddings of the images, (images, dim).
        parallel: Embeddings by the parallel branch, (utterances, dim), or None.
        cascaded: Embeddings by the cascaded branch, (utterances, dim), or None.
        text: Embeddings of captions by CLIP's own text tower, (utterances, dim), or None.
    """

    directory: Path
    utterances: tuple[str, ...]
    images: tuple[str, ...]
    image_of: tuple[str, ...]
    image: np.ndarray
    parallel: np.ndarray | None
    cascaded: np.ndarray | None
    text: np.ndarray | None

    @property
    def branches(self) -> dict[str, np.ndarray]:
        """The speech embeddings that exist, by branch name."""
        found = {"parallel": self.parallel, "cascaded": self.cascaded}
        return {name: array for name, array in found.items() if array is not None}

    @cached_property
    def keywords(self) -> list[UtteranceKeywords]:
        """The keywords of the cascaded branch; empty without one."""
        path = self.directory / KEYWORDS
        return read_keywords(path) if path.exists() else []

    @cached_property
    def _recordings(self) -> dict[str, str]:
        if (path := self.directory / RECORDINGS).exists():
            return read_scp(path)
        logging.warning(
            f"{path} is missing, as in outputs of before stage 8 wrote it: intervals and tests "
            "take it that no two utterances share a recording"
        )
        return {}

    def recordings_of(self, utterances: Iterable[str]) -> list[frozenset[str]] | None:
        """Recordings of each of these utterances; None if each is a recording of its own."""
        made_of = self._recordings
        return [frozenset(made_of.get(u, u).split()) for u in utterances] if made_of else None

    @property
    def captioned_keywords(self) -> list[UtteranceKeywords]:
        """The keywords if there are captions to compare them with; empty otherwise."""
        captioned = self.keywords and self.keywords[0].caption_ids is not None
        return self.keywords if captioned else []


def read_inference_set(directory: str | Path) -> InferenceSet:
    """Reads and checks one set's directory.

    Raises:
        FileNotFoundError: If a required file is missing.
        ValueError: If ids and rows do not match, an id comes twice, or a value is not finite.
    """
    directory = Path(directory)
    utterances = tuple(read_scp(directory / UTTERANCES))
    images = tuple(read_scp(directory / IMAGES))
    utt2image = read_scp(directory / UTT2IMAGE)
    image_of = tuple(utt2image.get(utterance, "") for utterance in utterances)
    if images and (others := set(image_of) ^ set(images)):
        raise ValueError(
            f"{directory / IMAGES}: images only here or only in {UTT2IMAGE}: {len(others)}, the "
            f"first is '{min(others)}'; run inference again"
        )
    found = {
        name: read_embeddings(directory / file, len(utterances), UTTERANCES)
        for name, file in UTTERANCE_ARRAYS.items()
        if (directory / file).exists()
    }
    if images:
        image = read_embeddings(directory / IMAGE, len(images), IMAGES)
    else:
        image = np.zeros((0, next((array.shape[1] for array in found.values()), 0)), np.float32)
    for name, array in found.items():
        if array.shape[1] != image.shape[1]:
            raise ValueError(
                f"{directory / UTTERANCE_ARRAYS[name]}: {array.shape[1]} dimensions, but {IMAGE} "
                f"has {image.shape[1]}"
            )
    return InferenceSet(
        directory=directory,
        utterances=utterances,
        images=images,
        image_of=image_of,
        image=image,
        **{name: found.get(name) for name in UTTERANCE_ARRAYS},
    )


def read_embeddings(path: Path, rows: int, ids_file: str) -> np.ndarray:
    """Memory-maps an array of embeddings and checks its shape and that every value is finite."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: run the inference stage first")
    array = _load_array(path, mmap_mode="r")
    if array.ndim != 2 or array.shape[0] != rows:
        raise ValueError(f"{path}: shape {array.shape}, but {ids_file} has {rows} ids")
    for start in range(0, rows, 65536):
        bad = ~np.isfinite(array[start : start + 65536]).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{path}: NaN or infinity in row {start + int(bad.argmax())} "
                f"(line {start + int(bad.argmax()) + 1} of {ids_file})"
            )
    return array


def read_frame_seconds(directory: Path) -> float:
    """Reads the seconds from one frame to the next, of the keywords' weights.

    Raises:
        ValueError: If the file is missing or does not hold a number.
    """
    path = directory / FRAME_SECONDS
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: no number of seconds ({error}); run inference again") from error


def read_layer_weights(directory: Path) -> np.ndarray | None:
    """Reads the softmax weights of the speech encoder's layers, (layers + 1,), if they exist."""
    path = directory / LAYER_WEIGHTS
    return _load_array(path) if path.exists() else None


def _load_array(path: Path, **options: Any) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False, **options)
    except Exception as error:  # a damaged header can fail in any way
        raise ValueError(f"{path} is not a readable NumPy array: run inference again") from error
