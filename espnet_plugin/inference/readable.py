"""Checks files before a model is loaded, which takes seconds."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from espnet_plugin.data.audio import read_audio, read_header
from espnet_plugin.data.images import image_problem, is_image
from espnet_plugin.data.scp import DataError


def check_recording(path: str) -> None:
    """Decodes a recording.

    Raises:
        DataError: It cannot be used; the message names it.
    """
    try:
        read_audio(path)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def keep_readable(paths: Sequence[str], *, others: bool = False) -> list[str]:
    """The files that can be read; a warning names each of the rest.

    Args:
        paths: Recordings and images.
        others: Whether there is other input, so all of them may be unreadable.

    Raises:
        ValueError: If none can be read.
    """
    problems = {path: problem for path in paths if (problem := _problem(path)) is not None}
    if problems and not others and problems.keys() == set(paths):
        raise ValueError("; ".join(problems.values()))
    for problem in problems.values():
        logging.warning(f"left out: {problem}")
    return [path for path in paths if path not in problems]


def _problem(path: str) -> str | None:
    if is_image(path):
        return image_problem(path)
    try:
        read_header(path)
    except DataError as error:
        return f"{path}: {error}"
    return None
