"""Read a set's tables for the batch sampler."""

from __future__ import annotations

from collections.abc import Collection

from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError


def read_lengths(
    shape_files: Collection[str], utterances: Collection[str] | None = None
) -> dict[str, int]:
    """Reads the lengths of utterances from the first shape file (``utt2num_samples`` is one).

    Raises:
        DataError: If there is no shape file, it lacks an utterance or has it twice, or a line is
            not ``<utterance> <n>[,<dim>]``.
    """
    if not shape_files:
        raise DataError("--train_shape_file is needed, e.g. dump/raw/<set>/utt2num_samples.")
    path = next(iter(shape_files))
    lengths: dict[str, int] = {}
    for utterance, shape in read_scp(path).items():
        length = shape.partition(",")[0]
        if not length.isdecimal():
            raise DataError(f"{path}: {utterance}: expected a length, found {shape!r}")
        lengths[utterance] = int(length)
    missing = next((each for each in utterances or () if each not in lengths), None)
    if missing is not None:
        raise DataError(f"{path}: no length of utterance {missing}; run stages 2 and 3 again")
    return lengths if utterances is None else {each: lengths[each] for each in utterances}


def read_image_ids(
    data: Collection[tuple[str, str, str]], utterances: Collection[str]
) -> dict[str, str]:
    """Reads the number of each utterance's image.

    Raises:
        DataError: If no such file is given, or it lacks an utterance or has it twice.
    """
    path = next((path for path, given, _ in data if given == "image_id"), None)
    if path is None:
        raise DataError("The data has no image_id (utt2image_id,image_id,text_int).")
    listed = read_scp(path)
    missing = next((utterance for utterance in utterances if not listed.get(utterance)), None)
    if missing is not None:
        raise DataError(f"{path}: no image_id of utterance {missing}, which the shape file lists.")
    return {utterance: listed[utterance] for utterance in utterances}
