"""Make data/flickr8k_{train,dev,test} from Flickr8k and the Flickr Audio Caption Corpus.

python -m local.flickr8k.prepare --root /corpora/flickr8k
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from local.shared.command import preparation_command
from local.shared.layout import corpus_root, find_one
from local.shared.spoken_captions import Corpus, SpokenCaption, clean_caption, safe_id

from espnet_plugin.data.scp import columns, text_lines
from espnet_plugin.utils.errors import DataError

REMEDY = (
    "Unpack the owners' archives into one folder and name it in db.sh (FLICKR8K=...), or run "
    "./run.sh --corpus flickr8k --download true"
)
IMAGES = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Images")
TEXT = "Flickr8k_text"
CAPTIONS = "Flickr8k.token.txt"
SPLIT_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
# Hodosh et al. 2013 and Harwath and Glass 2015: five captions of each image were read
PUBLISHED = {
    "train": {"images": 6000, "utterances": 30000},
    "dev": {"images": 1000, "utterances": 5000},
    "test": {"images": 1000, "utterances": 5000},
}
PUBLISHED_CAPTIONS = 40460
_SUFFIX = re.compile(r"\.jpe?g(\.\d+)?$", re.IGNORECASE)


def image_id(file_name: str) -> str:
    """Id of an image from its name in the lists.

    One entry of the captions is called ``....jpg.1``.

    >>> image_id("2258277193_586949ec62.jpg.1")
    '2258277193_586949ec62'
    """
    return _SUFFIX.sub("", file_name.strip())


def read_captions(path: Path) -> tuple[dict[str, list[tuple[int, str]]], dict[str, str]]:
    """Read ``<file>#<n><tab><caption>`` lines.

    Returns:
        The numbers and captions of each image id in file order, and odd file names by image id.

    Raises:
        DataError: If a line is of another form.
    """
    captions: dict[str, list[tuple[int, str]]] = {}
    odd: dict[str, str] = {}
    for number, line in text_lines(path):
        head, tab, caption = line.partition("\t")
        name, mark, index = head.rpartition("#")
        well_formed = tab and mark and index.strip().isdecimal() and _SUFFIX.search(name)
        if not well_formed or "/" in name:
            raise DataError(
                f"{path}:{number}: expected <image>.jpg#<n><tab><caption>, found {line[:60]!r}; "
                f"is this the {CAPTIONS} of Flickr8k's owners?"
            )
        image = image_id(name)
        if not name.lower().endswith((".jpg", ".jpeg")):
            odd[image] = name
        # without its final full stop, which the original drops, too
        text = clean_caption(caption).removesuffix(".").rstrip()
        captions.setdefault(image, []).append((int(index), text))
    if not captions:
        raise DataError(f"{path}: empty; {REMEDY}")
    return captions, odd


def read_splits(paths: Mapping[str, Path], known: Mapping[str, object]) -> dict[str, str]:
    """Read the split of each image id.

    Args:
        paths: File of each split that lists image names.
        known: Image ids that have captions.

    Raises:
        DataError: If a list is empty, holds other images, or two lists share an image.
    """
    split_of: dict[str, str] = {}
    for split, path in paths.items():
        images = [image_id(line) for _, line in text_lines(path) if line.strip()]
        if not images:
            raise DataError(f"{path}: no image is listed; {REMEDY}")
        unknown = [image for image in images if image not in known]
        if unknown:
            raise DataError(
                f"{path}: images without a caption: {len(unknown)} of {len(images)}, the first is "
                f"{unknown[0]!r}: this is not the list of Flickr8k's {split} images. {REMEDY}"
            )
        for image in images:
            if split_of.setdefault(image, split) != split:
                raise DataError(
                    f"{path}: image {image} is in {paths[split_of[image]].name} too; the lists "
                    f"of train, dev and test images must not overlap. {REMEDY}"
                )
    return split_of


def read_recordings(wav2capt: Path) -> dict[tuple[str, int], list[str]]:
    """Read the recordings, normally one, by image id and caption number; empty without the file."""
    names: dict[tuple[str, int], list[str]] = {}
    for number, line in text_lines(wav2capt) if wav2capt.is_file() else ():
        fields = columns(line)
        if not fields:
            continue
        if len(fields) != 3 or not fields[2].lstrip("#").isdecimal():
            raise DataError(
                f"{wav2capt}:{number}: expected <recording> <image> #<n>, found {line!r}"
            )
        names.setdefault((image_id(fields[1]), int(fields[2].lstrip("#"))), []).append(fields[0])
    return names


def read_speakers(wav2spk: Path) -> dict[str, str]:
    """Read the speaker of each recording; empty without that file.

    Raises:
        DataError: If a line is of another form, or a recording has two speakers.
    """
    speakers: dict[str, str] = {}
    for number, line in text_lines(wav2spk) if wav2spk.is_file() else ():
        fields = columns(line)
        if not fields:
            continue
        if len(fields) != 2:
            raise DataError(f"{wav2spk}:{number}: expected <recording> <speaker>, found {line!r}")
        speaker = f"speaker{safe_id(fields[1])}"
        if speakers.setdefault(fields[0], speaker) != speaker:
            raise DataError(f"{wav2spk}:{number}: {fields[0]} has two speakers; keep the right one")
    return speakers


def read_flickr8k(root: str | Path, *, speak: bool = False) -> Corpus:
    """Find the parts of the corpus as the owners' archives unpack, and read its lists.

    Args:
        root: Folder of the corpus.
        speak: Whether recordings may be missing.

    Raises:
        DataError: If a part is missing, or not Flickr8k's.
    """
    folder = corpus_root(root, variable="FLICKR8K", remedy=REMEDY)
    find = partial(find_one, folder, remedy=REMEDY)
    images = find(*IMAGES, what="Flickr8k's images")
    caption_file = find(CAPTIONS, f"{TEXT}/{CAPTIONS}", what="Flickr8k's captions")
    split_lists = {
        split: find(name, f"{TEXT}/{name}", what=f"Flickr8k's list of {split} images")
        for split, name in SPLIT_LISTS.items()
    }
    recordings = folder / "flickr_audio/wavs"
    if not speak or recordings.exists():
        recordings = find(
            "flickr_audio/wavs", "wavs", what="the recordings of the Flickr Audio Caption Corpus"
        )
    captions, odd = read_captions(caption_file)
    split_of = read_splits(split_lists, captions)
    names = read_recordings(recordings.parent / "wav2capt.txt")
    speakers = read_speakers(recordings.parent / "wav2spk.txt")
    total = sum(map(len, captions.values()))
    notes = [
        f"captions: {total:,} (published: {PUBLISHED_CAPTIONS:,}), images: {len(captions):,}; "
        "the final full stop of a caption is dropped, as the original does"
    ]
    for image, name in odd.items():
        where = f"in {split_of[image]}" if image in split_of else "in no split"
        notes.append(f"the entry {name} is the image {image}.jpg ({where})")
    known = {(image, number) for image, lines in captions.items() for number, _ in lines}
    if unlisted := sorted(names.keys() - known):
        image, number = unlisted[0]
        notes.append(
            f"WARNING: captions of wav2capt.txt not in {caption_file.name}: {len(unlisted)}, "
            f"the first is {image} #{number}"
        )
    if not names:
        notes.append("no wav2capt.txt: recordings are taken as <image>_<n>.wav")
    if not speakers:
        notes.append("WARNING: no wav2spk.txt: all speakers are unknown")

    def spoken_captions() -> Iterator[SpokenCaption]:
        for image, lines in captions.items():
            image_file = images / f"{image}.jpg"
            if image in odd and not image_file.is_file():
                image_file = images / odd[image]
            for number, caption in lines:
                for recording in names.get((image, number), [f"{image}_{number}.wav"]):
                    yield SpokenCaption(
                        split=split_of.get(image, ""),
                        utterance=f"{image}_{number}",
                        image=image,
                        recording=str(recordings / recording),
                        image_file=str(image_file),
                        speaker=speakers.get(recording, ""),
                        caption=caption,
                    )

    return Corpus("flickr8k", [folder], spoken_captions(), REMEDY, PUBLISHED, notes)


if __name__ == "__main__":
    folders = {"root": "folder of the corpus (FLICKR8K in db.sh)"}
    preparation_command("flickr8k", read_flickr8k, __doc__, folders)
