"""Small corpora in the layouts in which their owners' archives unpack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.data.scp import write_scp

_ROOT = Path(__file__).resolve().parents[3]
RECIPE = _ROOT / "egs2" / "speechclip_plus"


def owners_text() -> Path | None:
    """The real caption file and split lists, where this machine has them."""
    for parent in _ROOT.parents:
        folder = parent / "shared" / "flickr8k_text"
        if (folder / "Flickr8k.token.txt").is_file():
            return folder
    return None


def write_wav(path: Path) -> None:
    """A second of faint noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).standard_normal(8000) * 0.01
    soundfile.write(path, samples, 8000, subtype="PCM_16")


def write_picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path, format="JPEG")


@dataclass
class Flickr8k:
    """A folder like the owners', with media for some pictures."""

    root: Path
    captions: dict[str, list[str]] = field(default_factory=dict)
    splits: Mapping[str, list[str]] = field(default_factory=dict)

    def wav(self, name: str) -> Path:
        return self.root / "flickr_audio" / "wavs" / name

    def picture(self, name: str) -> Path:
        return self.root / "Flicker8k_Dataset" / name


NAMES = {"train": "trainImages", "dev": "devImages", "test": "testImages"}


@pytest.fixture
def flickr8k(tmp_path: Path) -> Flickr8k:
    """Four pictures for training, two for dev, two for test, one ``.jpg.1`` in no split."""
    corpus = Flickr8k(tmp_path / "flickr8k")
    corpus.splits = {
        "train": ["t1_a", "t2_a", "t3_a", "t4_a"],
        "dev": ["d1_a", "d2_a"],
        "test": ["e1_a", "e2_a"],
    }
    text = corpus.root / "Flickr8k_text"
    text.mkdir(parents=True)
    lines, capt, speakers = [], [], []
    images = [image for split in corpus.splits.values() for image in split]
    for image in [*images, "odd_a"]:
        name = f"{image}.jpg.1" if image == "odd_a" else f"{image}.jpg"
        write_picture(corpus.picture(f"{image}.jpg"))
        for n in range(5):
            lines.append(f"{name}#{n}\tA dog \r of {image} number {n} .")
            if image == "odd_a":
                continue
            write_wav(corpus.wav(f"{image}_{n}.wav"))
            capt.append(f"{image}_{n}.wav {image}.jpg #{n}")
            speakers.append(f"{image}_{n}.wav {n}")
    (text / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for split, members in corpus.splits.items():
        path = text / f"Flickr_8k.{NAMES[split]}.txt"
        path.write_text("".join(f"{image}.jpg\n" for image in members))
    (corpus.root / "flickr_audio" / "wav2capt.txt").write_text("\n".join(capt) + "\n")
    (corpus.root / "flickr_audio" / "wav2spk.txt").write_text("\n".join(speakers) + "\n")
    return corpus


@dataclass
class SpokenCoco:
    """Folders like SpokenCOCO's and MSCOCO's."""

    root: Path
    mscoco: Path


def coco_record(year: str, number: int, captions: int = 5) -> dict:
    """A picture of SpokenCOCO's lists."""
    half = "train" if year == "train2014" else "val"
    return {
        "image": f"{year}/COCO_{year}_{number:012d}.jpg",
        "captions": [
            {
                "text": f"A DOG NUMBER {n} IN PICTURE {number}",
                "speaker": f"m{n}",
                "uttid": f"m{n}-{number}_{n}",
                "wav": f"wavs/{half}/0/m{n}-{number}_{n}.wav",
            }
            for n in range(captions)
        ],
    }


@pytest.fixture
def spokencoco(tmp_path: Path) -> SpokenCoco:
    """Three pictures of train2014, four of val2014: restval, val, test, and one in no split."""
    corpus = SpokenCoco(tmp_path / "SpokenCOCO", tmp_path / "mscoco")
    train = [coco_record("train2014", n) for n in (9, 25, 30)]
    val = [coco_record("val2014", n, 6 if n == 42 else 5) for n in (42, 73, 74, 75)]
    for record in (*train, *val):
        write_picture(corpus.mscoco / record["image"])
        for caption in record["captions"]:
            write_wav(corpus.root / caption["wav"])
    (corpus.root / "SpokenCOCO_train.json").write_text(json.dumps({"data": train}))
    (corpus.root / "SpokenCOCO_val.json").write_text(json.dumps({"data": val}, indent=1))
    split_of = dict(zip((42, 73, 74), ("restval", "val", "test"), strict=True))
    images = [
        {
            "filepath": year,
            "filename": f"COCO_{year}_{n:012d}.jpg",
            "split": "train" if year == "train2014" else split_of[n],
            "sentences": [{"raw": "a dog"}],
        }
        for year, numbers in (("train2014", (9, 25, 30)), ("val2014", (42, 73, 74)))
        for n in numbers
    ]
    content = {"dataset": "coco", "images": images}
    (corpus.mscoco / "dataset_coco.json").write_text(json.dumps(content))
    return corpus


def recipe_copy(folder: Path) -> Path:
    """The recipe with folders of its own for what it makes."""
    made = folder / "egs2" / "speechclip_plus"
    made.mkdir(parents=True)
    (folder / "espnet_plugin").symlink_to(RECIPE.parents[1] / "espnet_plugin")
    for path in RECIPE.iterdir():
        if path.name not in ("data", "dump", "exp", "downloads"):
            (made / path.name).symlink_to(path)
    return made


def speakers() -> dict[str, str]:
    """Each string of digits in five utterances; theo alone says the first half of them."""
    strings = [f"{number:03d}" for number in range(0, 1000, 100)]
    both = {f"strangers_{s}_{n}": ("theo", "yweweler")[n % 2] for s in strings for n in range(5)}
    return {u: "theo" if u.split("_")[1] < "500" else speaker for u, speaker in both.items()}


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """The set of unseen speakers, with names of utterances in place of recordings."""
    folder, of = tmp_path / "digits_strangers", speakers()
    folder.mkdir()
    for utterance in of:
        (folder / f"{utterance}.wav").write_bytes(utterance.encode())
    image_of = {utterance: f"test_{utterance.split('_')[1]}" for utterance in of}
    write_scp(folder / "wav.scp", {u: folder / f"{u}.wav" for u in of})
    write_scp(folder / "utt2spk", of)
    write_scp(folder / "text", {u: f"words of {u.split('_')[1]}" for u in of})
    write_scp(folder / "utt2image", image_of)
    write_scp(folder / "image.scp", {image: f"{image}.png" for image in image_of.values()})
    return folder
