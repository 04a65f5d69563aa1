"""What the batch sampler wants to know about a set, from its text files."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path


def read_lengths(shape_files: Collection[str]) -> dict[str, int]:
    """Length of each utterance from the first shape file (``utt2num_samples`` is one).

    Raises:
        ValueError: When there is no shape file or a line is not of the form ``<utterance> <n>``.
    """
    if not shape_files:
        raise ValueError("--train_shape_file is needed, e.g. dump/raw/<set>/utt2num_samples.")
    path = Path(next(iter(shape_files)))
    lengths: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        try:
            lengths[fields[0]] = int(fields[1].split(",")[0])
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path}:{number}: expected '<utterance> <length>', got {line!r}"
            ) from error
    return lengths


def read_image_ids(
    data: Collection[tuple[str, str, str]], utterances: Collection[str]
) -> dict[str, str]:
    """Image of each utterance from the file that is given as ``image_id``.

    Raises:
        ValueError: When no such file is given or it lacks an utterance.
    """
    path = next((path for path, name, _ in data if name == "image_id"), None)
    if path is None:
        raise ValueError("The data has no image_id (utt2image_id,image_id,text_int).")
    listed: dict[str, str] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        utterance, _, image = line.partition(" ")
        listed[utterance] = image.strip()
    missing = next((utterance for utterance in utterances if not listed.get(utterance)), None)
    if missing is not None:
        raise ValueError(f"{path}: no image id of utterance {missing}, which the shape file lists.")
    return {utterance: listed[utterance] for utterance in utterances}
