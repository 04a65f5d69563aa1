"""Embeddings and keywords by file name; unusable files are left out with a warning."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from espnet_plugin.data.images import is_image
from espnet_plugin.inference.speechclip import Branch, SpeechCLIP
from espnet_plugin.inference.words import SpokenWord
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress


def embed_by_name(
    model: SpeechCLIP,
    files: Sequence[str],
    texts: Sequence[str] = (),
    *,
    branch: Branch | None = None,
) -> list[tuple[str, np.ndarray]]:
    """Embeds recordings, images and texts.

    Args:
        model: The model.
        files: Recordings and images.
        texts: Texts.
        branch: Of recordings, see :meth:`SpeechCLIP.encode_speech`.

    Returns:
        Name or text and its unit-length embedding (dim,), files first, in the order given.

    Raises:
        ValueError: If nothing can be used.
    """
    images = [file for file in files if is_image(file)]
    recordings = [file for file in files if not is_image(file)]
    rows: dict[str, np.ndarray] = {}
    problems: list[str] = []
    for given, encode in (
        (recordings, partial(model.encode_speech, branch=branch)),
        (images, model.encode_image),
    ):
        if given:
            skipped: dict[int, str] = {}
            embedded = encode(given, skipped=skipped)
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


def keywords_by_name(model: SpeechCLIP, files: Sequence[str]) -> dict[str, list[SpokenWord]]:
    """Recording → the words that the model finds in it.

    Raises:
        ValueError: If no recording can be used.
    """
    found, problems = {}, []
    for file in progress(files, description="recordings", unit="recording"):
        try:
            found[file] = model.keywords(file)
        except (OSError, ValueError) as error:
            logging.warning(f"left out: {error}")
            problems.append(str(error))
    if not found:
        raise ValueError("; ".join(problems))
    return found
