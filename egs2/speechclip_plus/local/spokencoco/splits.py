"""Karpathy's splits of MSCOCO 2014, in any of its three forms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.shared.json_stream import stream_records
from local.shared.layout import contents

from espnet_plugin.data.scp import DataError

# "restval" are the images of val2014 that Karpathy added to the training set
NAMES = {"train": "train", "restval": "train", "val": "dev", "dev": "dev", "test": "test"}
FOLDERS = ("", "ksplit", "karpathy", "karpathy_splits", "splits", "annotations")
ONE_FILE = "dataset_coco.json"
_THREE = ("train", "val", "test")
PER_SPLIT = ("SpokenCOCO_ksplit_{}.json", "coco_karpathy_{}.json")


def find_splits(roots: list[Path], *, remedy: str) -> dict[str, Path]:
    """Find the files with the splits.

    Args:
        roots: Folders of SpokenCOCO and of MSCOCO.
        remedy: What to do when there is none.

    Returns:
        ``{"": dataset_coco.json}`` or ``{"train": ..., "val": ..., "test": ...}``.

    Raises:
        DataError: There is none, or one of three is missing.
    """
    for root in roots:
        for folder in FOLDERS:
            for pattern in PER_SPLIT:
                paths = {name: root / folder / pattern.format(name) for name in _THREE}
                there = [name for name, path in paths.items() if path.is_file()]
                if len(there) == len(_THREE):
                    return paths
                if there:
                    missing = next(path for name, path in paths.items() if name not in there)
                    raise DataError(
                        f"{missing}: missing, though the other splits are there. {remedy}"
                    )
            path = root / folder / ONE_FILE
            if path.is_file():
                return {"": path}
    looked = ", ".join([ONE_FILE, *(pattern.format("{train,val,test}") for pattern in PER_SPLIT)])
    found = "; ".join(f"in {root}: {contents(root)}" for root in roots)
    raise DataError(
        f"Karpathy's splits of MSCOCO not found; looked for: {looked}, in the folders and in "
        f"{', '.join(FOLDERS[1:])} under them; found {found}. {remedy}"
    )


def read_splits(paths: dict[str, Path]) -> dict[str, str]:
    """Image's file name without suffix → train, dev or test.

    Raises:
        DataError: A file is of another form, or two splits share an image.
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
    """``val2014/COCO_val2014_000000000042.jpg`` → ``COCO_val2014_000000000042``."""
    return path.rpartition("/")[2].rpartition(".")[0] or path.rpartition("/")[2]


def _images(path: Path, name: str) -> Iterator[tuple[str, str]]:
    key = "images" if not name else "data"
    for number, record in enumerate(stream_records(path, key)):
        image = _image(record)
        split = record.get("split", name) if isinstance(record, dict) and not name else name
        if not image or split not in NAMES:
            raise DataError(
                f"{path}: record {number} names no image or no split (train, restval, val, test)"
            )
        yield image_stem(image), NAMES[split]


def _image(record: Any) -> str:
    if not isinstance(record, dict):
        return ""
    image = record.get("filename") or record.get("image") or ""
    return image if isinstance(image, str) else ""
