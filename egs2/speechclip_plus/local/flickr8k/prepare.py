"""Make data/flickr8k_{train,dev,test} from Flickr8k and the Flickr Audio Caption Corpus.

python -m local.flickr8k.prepare --root /corpora/flickr8k
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local.shared.command import preparation_parser, run_preparation
from local.shared.layout import corpus_root, find_one
from local.shared.sets import prepare_sets
from local.shared.spoken_captions import SpokenCaption, clean_caption, safe_id
from local.shared.summary import Summary

from espnet_plugin.data.scp import DataError, columns, text_lines

REMEDY = (
    "Unpack the owners' archives into one folder and name it in db.sh (FLICKR8K=...), or run "
    "./run.sh --corpus flickr8k --download true"
)
PICTURES = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Images")
TEXT = "Flickr8k_text"
CAPTIONS = "Flickr8k.token.txt"
SPLIT_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
# Hodosh et al. 2013 and Harwath and Glass 2015: five captions of each picture were read
PUBLISHED = {
    "train": {"images": 6000, "utterances": 30000},
    "dev": {"images": 1000, "utterances": 5000},
    "test": {"images": 1000, "utterances": 5000},
}
PUBLISHED_CAPTIONS = 40460
_SUFFIX = re.compile(r"\.jpe?g(\.\d+)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """Where the parts of the corpus lie."""

    pictures: Path
    captions: Path
    split_lists: Mapping[str, Path]
    recordings: Path
    wav2capt: Path | None
    wav2spk: Path | None


def find_layout(root: Path) -> Layout:
    """Finds the parts of the corpus as the owners' archives unpack.

    Raises:
        DataError: A part is missing; the message says where it was looked for.
    """

    def text_file(name: str, what: str) -> Path:
        places = (name, f"{TEXT}/{name}")
        return find_one(root, places, what=what, remedy=REMEDY, folder=False)

    def optional(name: str) -> Path | None:
        path = root / "flickr_audio" / name
        return path if path.is_file() else None

    return Layout(
        pictures=find_one(root, PICTURES, what="Flickr8k's pictures", remedy=REMEDY, folder=True),
        captions=text_file(CAPTIONS, "Flickr8k's captions"),
        split_lists={
            split: text_file(name, f"Flickr8k's list of {split} pictures")
            for split, name in SPLIT_LISTS.items()
        },
        recordings=find_one(
            root,
            ("flickr_audio/wavs", "wavs"),
            what="the recordings of the Flickr Audio Caption Corpus",
            remedy=REMEDY,
            folder=True,
        ),
        wav2capt=optional("wav2capt.txt"),
        wav2spk=optional("wav2spk.txt"),
    )


def image_id(file_name: str) -> str:
    """Id of a picture from its name in the lists.

    One entry of the captions is called ``....jpg.1``.

    >>> image_id("2258277193_586949ec62.jpg.1")
    '2258277193_586949ec62'
    """
    return _SUFFIX.sub("", file_name.strip())


def without_full_stop(caption: str) -> str:
    """A caption without its final full stop, which the original drops, too.

    >>> without_full_stop(" A dog  runs . ")
    'A dog runs'
    """
    return clean_caption(caption).removesuffix(".").rstrip()


def read_captions(path: Path) -> tuple[dict[str, list[tuple[int, str]]], dict[str, str]]:
    """Reads ``<file>#<n><tab><caption>`` lines.

    Returns:
        Image id → (number, caption) in file order; image id → odd file name.

    Raises:
        DataError: A line is of another form.
    """
    captions: dict[str, list[tuple[int, str]]] = {}
    odd: dict[str, str] = {}
    for number, line in text_lines(path):
        head, tab, caption = line.partition("\t")
        name, mark, index = head.rpartition("#")
        if not tab or not mark or not index.strip().isdigit() or not _SUFFIX.search(name):
            raise DataError(
                f"{path}:{number}: expected <picture>.jpg#<n><tab><caption>, found {line[:60]!r}; "
                f"is this the {CAPTIONS} of Flickr8k's owners?"
            )
        image = image_id(name)
        if not name.lower().endswith((".jpg", ".jpeg")):
            odd[image] = name
        captions.setdefault(image, []).append((int(index), without_full_stop(caption)))
    if not captions:
        raise DataError(f"{path}: empty; {REMEDY}")
    return captions, odd


def read_splits(paths: Mapping[str, Path], known: Mapping[str, object]) -> dict[str, str]:
    """Image id → split.

    Args:
        paths: Split → list of picture names.
        known: Image ids that have captions.

    Raises:
        DataError: A list is empty, holds other pictures, or two lists share a picture.
    """
    split_of: dict[str, str] = {}
    for split, path in paths.items():
        images = [image_id(line) for _, line in text_lines(path) if line.strip()]
        if not images:
            raise DataError(f"{path}: no picture is listed; {REMEDY}")
        unknown = [image for image in images if image not in known]
        if unknown:
            raise DataError(
                f"{path}: {len(unknown)} of {len(images)} pictures have no caption, the first is "
                f"{unknown[0]!r}: this is not the list of Flickr8k's {split} pictures. {REMEDY}"
            )
        for image in images:
            if split_of.setdefault(image, split) != split:
                raise DataError(
                    f"{path}: picture {image} is in {paths[split_of[image]].name} too; the lists "
                    f"of train, dev and test pictures must not overlap. {REMEDY}"
                )
    return split_of


def read_recordings(layout: Layout) -> dict[tuple[str, int], str]:
    """(image id, caption number) → name of the recording, as ``wav2capt.txt`` says."""
    names: dict[tuple[str, int], str] = {}
    if layout.wav2capt is None:
        return names
    for number, line in text_lines(layout.wav2capt):
        fields = columns(line)
        if not fields:
            continue
        if len(fields) != 3 or not fields[2].lstrip("#").isdigit():
            raise DataError(
                f"{layout.wav2capt}:{number}: expected <recording> <picture> #<n>, found {line!r}"
            )
        names[image_id(fields[1]), int(fields[2].lstrip("#"))] = fields[0]
    return names


def read_speakers(layout: Layout) -> dict[str, str]:
    """Recording → speaker, as ``wav2spk.txt`` says; empty without that file."""
    if layout.wav2spk is None:
        return {}
    pairs = (columns(line) for _, line in text_lines(layout.wav2spk))
    return {pair[0]: f"speaker{safe_id(pair[1])}" for pair in pairs if len(pair) == 2}


def spoken_captions(
    layout: Layout,
    captions: Mapping[str, list[tuple[int, str]]],
    odd: Mapping[str, str],
    split_of: Mapping[str, str],
) -> Iterator[SpokenCaption]:
    """Every caption of the corpus with the recording that belongs to it."""
    names, speakers = read_recordings(layout), read_speakers(layout)
    for image, lines in captions.items():
        picture = layout.pictures / f"{image}.jpg"
        if image in odd and not picture.is_file():
            picture = layout.pictures / odd[image]
        for number, caption in lines:
            recording = names.get((image, number), f"{image}_{number}.wav")
            yield SpokenCaption(
                split=split_of.get(image, ""),
                utterance=f"{image}_{number}",
                image=image,
                recording=str(layout.recordings / recording),
                picture=str(picture),
                speaker=speakers.get(recording, ""),
                caption=caption,
            )


def prepare_flickr8k(
    root: str | Path, data_dir: Path, *, jobs: int = 1, max_bad: float = 0.1
) -> Summary:
    """Writes the three data directories, ``data/local/flickr8k`` and the summary.

    Args:
        root: The corpus's folder.
        data_dir: Where the directories go.
        jobs: Processes that look at files.
        max_bad: Share of the utterances that may be skipped.

    Raises:
        DataError: Something is missing, broken or not Flickr8k.
    """
    layout = find_layout(corpus_root(str(root), variable="FLICKR8K", remedy=REMEDY))
    captions, odd = read_captions(layout.captions)
    split_of = read_splits(layout.split_lists, captions)
    total = sum(map(len, captions.values()))
    summary = Summary("flickr8k", PUBLISHED, REMEDY)
    summary.notes.append(
        f"captions: {total:,} (published: {PUBLISHED_CAPTIONS:,}) of {len(captions):,} pictures; "
        "the final full stop of a caption is dropped, as the original does"
    )
    for image, name in odd.items():
        where = f"in {split_of[image]}" if image in split_of else "in no split"
        summary.notes.append(f"the entry {name} is the picture {image}.jpg ({where})")
    if layout.wav2capt is None:
        summary.notes.append("no wav2capt.txt: recordings are taken as <picture>_<n>.wav")
    if layout.wav2spk is None:
        summary.notes.append("WARNING: no wav2spk.txt: all speakers are unknown")
    prepare_sets(
        spoken_captions(layout, captions, odd, split_of),
        corpus="flickr8k",
        data_dir=data_dir,
        summary=summary,
        jobs=jobs,
        max_bad=max_bad,
        total=total,
    )
    summary.write(data_dir / "local" / "flickr8k")
    return summary


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    return preparation_parser(__doc__, root_help="folder of the corpus (FLICKR8K in db.sh)")


def main(cmd: Sequence[str] | None = None) -> None:
    """Prepares the corpus."""
    args = get_parser().parse_args(cmd)
    run_preparation(
        "flickr8k",
        lambda: prepare_flickr8k(args.root, args.data_dir, jobs=args.nj, max_bad=args.max_bad),
    )


if __name__ == "__main__":
    main()
