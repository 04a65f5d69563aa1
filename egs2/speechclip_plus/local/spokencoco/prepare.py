"""Make data/spokencoco_{train,dev,test} from SpokenCOCO and MSCOCO's images.

python -m local.spokencoco.prepare --root /corpora/SpokenCOCO --mscoco /corpora/mscoco
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from local.shared.command import preparation_command
from local.shared.layout import corpus_root, find_one
from local.shared.spoken_captions import Corpus, SpokenCaption, clean_caption, safe_id

from espnet_plugin.utils.errors import DataError

from .splits import find_splits, image_stem, read_records, read_splits

REMEDY = (
    "Unpack the owners' archives and name their folders in db.sh (SPOKENCOCO=..., MSCOCO=...), or "
    "run ./run.sh --corpus spokencoco --download true"
)
LISTS = ("SpokenCOCO_train.json", "SpokenCOCO_val.json")
# Karpathy and Fei-Fei 2015: images of the splits; the original's counts of recordings
PUBLISHED = {
    "train": {"images": 113287},
    "dev": {"images": 5000},
    "test": {"images": 5000, "utterances": 25031},
}


def spoken_captions(
    lists: Sequence[Path],
    root: Path,
    images: Mapping[str, Path],
    split_of: Mapping[str, str],
    *,
    speak: bool = False,
) -> Iterator[SpokenCaption]:
    """Yield every caption of SpokenCOCO.

    Args:
        lists: Paths of ``SpokenCOCO_train.json`` and ``SpokenCOCO_val.json``.
        root: Folder with ``wavs/``.
        images: Folders of ``train2014`` and ``val2014``.
        split_of: Split of each image.
        speak: Whether a caption may have no recording.

    Raises:
        DataError: If a record is of another form.
    """
    for path in lists:
        for number, record in enumerate(read_records(path, "data")):
            image, captions = _record(record, path, number)
            stem = image_stem(image)
            folder = image.rpartition("/")[0].rpartition("/")[2]
            if folder not in images:
                # a list that names the image without its folder
                folder = stem.split("_")[1] if stem.count("_") == 2 else folder
            if folder not in images:
                raise DataError(
                    f"{path}: record {number}: image {image!r} is in none of {', '.join(images)}"
                )
            image_file = str(images[folder] / image.rpartition("/")[2])
            for index, caption in enumerate(captions):
                recording, text = caption.get("wav"), caption.get("text")
                if speak and not recording:
                    recording = ""
                elif not isinstance(recording, str) or not recording:
                    raise DataError(f"{path}: record {number}: caption {index} names no recording")
                speaker = caption.get("speaker")
                yield SpokenCaption(
                    split=split_of.get(stem, ""),
                    utterance=f"{stem}_{index}",
                    image=stem,
                    recording=str(root / recording) if recording else "",
                    image_file=image_file,
                    speaker=safe_id(str(speaker)) if isinstance(speaker, (str, int)) else "",
                    caption=clean_caption(text) if isinstance(text, str) else "",
                    problem="" if isinstance(text, str) else "caption is not a text",
                )


def _record(record: Any, path: Path, number: int) -> tuple[str, list[dict[str, Any]]]:
    image = record.get("image") if isinstance(record, dict) else None
    captions = record.get("captions") if isinstance(record, dict) else None
    if not isinstance(image, str) or not isinstance(captions, list):
        raise DataError(
            f'{path}: record {number}: expected {{"image": ..., "captions": [...]}}; is this '
            "SpokenCOCO's own list?"
        )
    if not all(isinstance(caption, dict) for caption in captions):
        raise DataError(f"{path}: record {number}: a caption must be an object with text and wav")
    return image, captions


def read_spokencoco(root: str | Path, mscoco: str | Path, *, speak: bool = False) -> Corpus:
    """Read the lists of SpokenCOCO and the splits of MSCOCO.

    Args:
        root: Folder of SpokenCOCO.
        mscoco: Folder of MSCOCO's images.
        speak: Whether recordings may be missing.

    Raises:
        DataError: If a part is missing, broken or not SpokenCOCO's. Wrong records are reported as
            they come.
    """
    folder = corpus_root(root, variable="SPOKENCOCO", remedy=REMEDY)
    image_root = corpus_root(mscoco, variable="MSCOCO", remedy=REMEDY)
    lists = [
        find_one(folder, name, f"SpokenCOCO/{name}", what="SpokenCOCO's list", remedy=REMEDY)
        for name in LISTS
    ]
    folder = lists[0].parent
    if not speak:
        find_one(folder, "wavs", what="SpokenCOCO's recordings", remedy=REMEDY)
    images = {
        name: find_one(
            image_root, name, f"images/{name}", what=f"MSCOCO's images {name}", remedy=REMEDY
        )
        for name in ("train2014", "val2014")
    }
    split_of = read_splits(find_splits(folder, image_root, remedy=REMEDY))
    captions = spoken_captions(lists, folder, images, split_of, speak=speak)
    return Corpus("spokencoco", [folder, image_root], captions, REMEDY, PUBLISHED)


if __name__ == "__main__":
    folders = {
        "root": "folder of SpokenCOCO (SPOKENCOCO in db.sh)",
        "mscoco": "folder of the images (MSCOCO in db.sh)",
    }
    preparation_command("spokencoco", read_spokencoco, __doc__, folders)
