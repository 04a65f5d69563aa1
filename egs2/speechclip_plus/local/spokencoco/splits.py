"""SpokenCOCO's lists, and Karpathy's splits of MSCOCO 2014 in one file or in three."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.shared.layout import find_one

from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.small_files import read_json

# "restval" are the images of val2014 that Karpathy added to the training set
NAMES = {"train": "train", "restval": "train", "val": "dev", "test": "test"}
ONE_FILE = "dataset_coco.json"
PER_SPLIT = "SpokenCOCO_ksplit_{}.json"


def read_records(path: Path, key: str) -> list[Any]:
    """Read the array under a key of a JSON file.

    Raises:
        DataError: If the file is not JSON, ends too early, or has no such array.
    """
    try:
        content = read_json(path)
    except ValueError as error:
        raise DataError(f"{error}. Perhaps it ends too early: download it again") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), list):
        names = ", ".join(list(content)[:8]) if isinstance(content, dict) else "none"
        raise DataError(f'{path}: has no "{key}" that is a list; its keys are {names}')
    return content[key]


def find_splits(root: Path, image_root: Path, *, remedy: str) -> dict[str, Path]:
    """Find the files with the splits.

    Args:
        root: Folder of SpokenCOCO.
        image_root: Folder of MSCOCO.
        remedy: What the message advises if there are none.

    Returns:
        ``{"": dataset_coco.json}`` or ``{"train": ..., "val": ..., "test": ...}``.

    Raises:
        DataError: If neither is complete.
    """
    for folder in (root, image_root):
        if (folder / ONE_FILE).is_file():
            return {"": folder / ONE_FILE}
    what = "Karpathy's splits of MSCOCO"
    remedy = f"{ONE_FILE}, there or in {image_root}, will do, too. {remedy}"
    files = {name: PER_SPLIT.format(name) for name in ("train", "val", "test")}
    return {
        name: find_one(root, file, f"ksplit/{file}", what=what, remedy=remedy)
        for name, file in files.items()
    }


def read_splits(paths: dict[str, Path]) -> dict[str, str]:
    """Read the split (train, dev or test) of each image's file name without suffix.

    Raises:
        DataError: If a file is of another form, or two splits share an image.
    """
    split_of: dict[str, str] = {}
    for name, path in paths.items():
        count = 0
        for stem, split in _images(path, name):
            count += 1
            if split_of.setdefault(stem, split) != split:
                raise DataError(f"{path}: image {stem} is in {split} and in {split_of[stem]}")
        if not count:
            raise DataError(f"{path}: no image is listed; download it again")
    return split_of


def image_stem(path: str) -> str:
    """An image's name, such as ``COCO_val2014_000000000042``, by its path in the lists."""
    return path.rpartition("/")[2].rpartition(".")[0] or path.rpartition("/")[2]


def _images(path: Path, name: str) -> Iterator[tuple[str, str]]:
    for number, record in enumerate(read_records(path, "data" if name else "images")):
        values = record if isinstance(record, dict) else {}
        image, split = values.get("image" if name else "filename"), name or values.get("split")
        if not (image and isinstance(image, str) and isinstance(split, str) and split in NAMES):
            raise DataError(
                f"{path}: record {number} names no image or no split (train, restval, val, test)"
            )
        yield image_stem(image), NAMES[split]
