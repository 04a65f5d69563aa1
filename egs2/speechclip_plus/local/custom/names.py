"""A corpus in a folder without a table: a recording has the name of its image.

    boat.jpg
    boat.wav, boat_1.wav, boat-ada.wav      recordings of boat.jpg

What follows the image's name begins with a hyphen, an underscore, a full stop or a space. If two
names fit, the longer one counts. The files may be in any folders below.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

from local.shared.spoken_captions import Corpus, SpokenCaption, safe_id

from espnet_plugin.media.audio import is_recording
from espnet_plugin.media.folders import find_files
from espnet_plugin.media.images import is_image
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import counted

from .table import REMEDY, drawn_split


def image_of(recording: str, images: Container[str]) -> str:
    """The longest name of an image that a recording's name is or begins with, or none.

    >>> image_of("boat-red_1", ["boat", "boat-red"]), image_of("boats", ["boat"])
    ('boat-red', '')
    """
    ends = [len(recording), *(found.start() for found in re.finditer(r"[-_. ]", recording))]
    names = (recording[:end] for end in sorted(ends, reverse=True))
    return next((name for name in names if name in images), "")


def read_names(name: str, folder: Path) -> Corpus:
    """Pair the recordings and the images below a folder by their names.

    Args:
        name: Name of the corpus.
        folder: Folder of the corpus.

    Raises:
        DataError: If two images have the same name, or fewer than three have a recording.
    """
    images: dict[str, str] = {}
    for file in find_files([str(folder)], is_image):
        if (first := images.setdefault(Path(file).stem, file)) != file:
            raise DataError(
                f"{file}: {first} has the same name, so no recording can be of one of them. Rename "
                f"one. {REMEDY}"
            )
    found = {
        file: image_of(Path(file).stem, images) for file in find_files([str(folder)], is_recording)
    }
    spoken = set(found.values())
    described = [image for image in images if image in spoken]
    if len(described) < 3:
        there = ", ".join(Path(file).name for file in [*found, *images.values()][:4]) or "nothing"
        raise DataError(
            f"{folder}: {counted(len(found), 'recording')}, {counted(len(images), 'image')} and no "
            f"table: {there}. Images with a recording of their name: {len(described)}, but train, "
            "dev and test need one each. Name recordings of boat.jpg boat.wav, boat_1.wav and so "
            f"on. {REMEDY}"
        )
    silent = [Path(file).name for image, file in images.items() if image not in spoken]
    notes = ["captions: none; pairs: by the names of the files"]
    if silent:
        notes.append(f"images without a recording: {len(silent):,}; the first is {silent[0]}")
    splits = {image: drawn_split(place, len(described)) for place, image in enumerate(described)}
    captions = [
        SpokenCaption(
            split=splits.get(image, "train"),
            utterance=f"{safe_id(image)}_{number}",
            image=safe_id(image),
            recording=file,
            image_file=images.get(image, ""),
            problem="" if image else "no image has its name",
        )
        for number, (file, image) in enumerate(found.items())
    ]
    return Corpus(name, [folder], captions, REMEDY, notes=notes)
