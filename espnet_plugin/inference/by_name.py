"""Embeddings and keywords by file name; unusable files are left out with a warning."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.inference.speechclip import Branch, SpeechCLIP
from espnet_plugin.media.images import is_image
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import counted, progress


def embed_by_name(
    model: SpeechCLIP,
    files: Sequence[str],
    texts: Sequence[str] = (),
    *,
    branch: Branch | None = None,
    trim: bool = True,
) -> list[tuple[str, np.ndarray]]:
    """Embeds recordings, images and texts.

    Args:
        model: The model that embeds them.
        files: Paths of recordings and images.
        texts: Texts to embed.
        branch, trim: Branch that embeds recordings, and whether silence at their ends is cut off,
            see :meth:`SpeechCLIP.encode_speech`.

    Returns:
        Each name or text with its unit-length embedding (dim,), files first, in the order given.

    Raises:
        ValueError: If nothing can be used.
        OSError: If the only file cannot be read.
    """
    is_alone = len(files) + len(texts) == 1
    images = [file for file in files if is_image(file)]
    recordings = [file for file in files if not is_image(file)]
    rows: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for given, encode in (
        (recordings, partial(model.encode_speech, branch=branch, trim=trim)),
        (images, model.encode_image),
    ):
        if given:
            skipped: dict[int, str] = {}
            embedded = encode(given, skipped=None if is_alone else skipped)
            problems += skipped.values()
            kept = [file for position, file in enumerate(given) if position not in skipped]
            rows.update(zip(kept, embedded, strict=True))
    found = [(file, rows[file]) for file in files if file in rows]
    found += zip(texts, model.encode_text(texts), strict=True)
    if not found:
        raise ValueError("; ".join(problems))
    return found


def write_embeddings(path: Path, rows: Sequence[tuple[str, np.ndarray]]) -> None:
    """Writes an .npz file with the arrays ``items`` and ``embeddings`` (items, dim)."""
    names, embeddings = zip(*rows, strict=True)
    with atomic_path(path) as temporary:
        np.savez(temporary, items=names, embeddings=embeddings)
    logging.info(f"embeddings: {len(rows)} → {path}")


def heard_by_name(
    model: SpeechCLIP,
    recordings: Mapping[str, str],
    problems: dict[str, str],
    *,
    hear: Callable[[str], list[SpokenWord]] | None = None,
) -> Iterator[tuple[str, str, list[SpokenWord]]]:
    """Yields name, file and words of each recording.

    Args:
        model: Model that finds the words.
        recordings: File of each recording, by its name.
        problems: Gets the recordings that cannot be used, with the reasons.
        hear: Function that gives the words of a file, by default the model's ``keywords``.

    Raises:
        ValueError: If the model extracts no keywords, or no recording can be used.
        OSError: If the only recording cannot be read.
    """
    if "cascaded" not in model.branches:
        raise ValueError(f"{model.source}: this architecture (parallel) has no keywords")
    shown = progress(recordings.items(), description="recordings", unit="recording")
    for name, path in shown:
        try:
            words = (hear or model.keywords)(path)
        except (OSError, ValueError) as error:
            if len(recordings) == 1:
                raise
            logging.warning(f"left out: {error}")
            problems[name] = str(error).removeprefix(f"{path}: ")
        else:
            yield name, path, words
    if recordings and len(problems) == len(recordings):
        name, reason = next(iter(problems.items()))
        first = f"{recordings[name]}: {reason}"
        number = counted(len(problems), "recording")
        raise ValueError(f"none of {number} can be used; the first: {first}")
