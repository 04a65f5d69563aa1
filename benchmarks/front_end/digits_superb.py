r"""Makes corpora in the layouts of SUPERB's data sets from recordings of people who say digits.

KS asks which of ten digits is said, in single recordings. SID asks which of six people speaks. PR
asks for the phones of a string. KS and SID split the recordings as the corpus does, PR has its sets
``digits_train``, ``digits_dev`` (every fourth string, to choose a checkpoint) and ``digits_test``.
Scores are not those of SUPERB's data sets.

Example, after ``./run.sh --corpus digits``:
    python -m benchmarks.front_end.digits_superb FSDD superb_digits
    python -m s3prl_upstream.superb run superb_digits/data.yaml exp/superb_digits --steps 200 \
        --seed 0 --upstream speechclip_plus=MODEL --upstream speechclip_plus_encoder=MODEL
"""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import yaml

from espnet_plugin.data.datadir import WORDS_CTM
from espnet_plugin.data.scp import read_scp, write_lines
from espnet_plugin.evaluation.alignments import read_ctm
from espnet_plugin.media.audio import read_mono
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors
from s3prl_upstream.superb.conf import EXPERT

logger = logging.getLogger(__name__)

RATE = 16000
LEXICON = Path(__file__).with_name("lexicon.txt")  # ARPAbet, in LibriSpeech's format
DATARC = f"{EXPERT}.datarc"
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
LARGEST_HASH = 2**27 - 1  # of Speech Commands' split
CHAPTER = 1
RECIPE = Path(__file__).parents[2] / "egs2" / "speechclip_plus"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
FEW_UPDATES = {"config.optimizer.lr": 1e-3}  # SUPERB's rates are for 100,000 updates and more


@dataclass(frozen=True)
class Recording:
    """A recording of known words.

    Attributes:
        speaker: Name of the voice.
        text: What is said.
        path: Path of the recording.
    """

    speaker: str
    text: str
    path: Path


def make_corpora(fsdd: Path, directory: Path) -> Path:
    """Writes the corpora; returns the data.yaml.

    Args:
        fsdd: Folder that holds ``recordings/``.
        directory: Of the corpora.

    Raises:
        FileExistsError: It is there.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} already exists; remove it or choose another directory")
    files = sorted((fsdd / "recordings").glob("?_*_*.wav"))
    if not files:
        raise FileNotFoundError(f"{fsdd}/recordings holds no recordings of digits")
    train, dev, test = (_strings(part) for part in ("train", "dev", "test"))
    strings = {"train-clean-100": train, "dev-clean": dev[::4], "test-clean": test}
    tasks = {
        "KS": keyword_spotting(files, directory / "KS"),
        "SID": speaker_identification(files, directory / "SID"),
        "PR": librispeech(strings, directory / "PR"),
    }
    options = {
        name: {key: str(v) if isinstance(v, Path) else v for key, v in given.items()} | FEW_UPDATES
        for name, given in tasks.items()
    }
    path = directory / "data.yaml"
    write_text(path, yaml.safe_dump({"tasks": options}, sort_keys=False))
    logger.info(f"{path}: {', '.join(tasks)}")
    return path


def keyword_spotting(files: Sequence[Path], root: Path) -> dict[str, object]:
    """KS. Ten digits take the places of the ten commands."""
    ids = {
        (speaker, part): speaker_id(2 * index + valid, is_valid=bool(valid))
        for index, speaker in enumerate(SPEAKERS)
        for valid, part in enumerate(("train", "dev"))
    }
    for file in files:
        digit, speaker, part, number = _facts(file)
        folder = root / ("test" if part == "test" else "train") / KEYWORDS[digit]
        name = file.stem if part == "test" else f"{ids[speaker, part]}_nohash_{number}"
        write_audio(folder / f"{name}.wav", one_second(read_mono(str(file), RATE)))
    return with_noises(root)


def speaker_identification(files: Sequence[Path], root: Path) -> dict[str, object]:
    """SID. Each speaker says each digit in all three parts."""
    places = {"train": 1, "dev": 2, "test": 3}
    lines = []
    for file in files:
        digit, speaker, part, number = _facts(file)
        name = f"id{10001 + SPEAKERS.index(speaker)}/{part}/{digit}_{number}.wav"
        write_audio(root / "dev" / "wav" / name, read_mono(str(file), RATE))
        lines.append((str(places[part]), name))
    (root / "test" / "wav").mkdir(parents=True)
    write_lines(root / "iden_split.txt", lines)
    data = {f"{DATARC}.file_path": root, f"{DATARC}.meta_data": root / "iden_split.txt"}
    return data | {f"{DATARC}.train_batch_size": 32}


def librispeech(parts: Mapping[str, Sequence[Recording]], root: Path) -> dict[str, object]:
    """Writes PR's data set; returns the options (s3prl's ``-o`` keys) that name it.

    Args:
        parts: Recordings of ``train-clean-100``, ``dev-clean`` and ``test-clean``.
        root: Folder of the data set.
    """
    for part, recordings in parts.items():
        speakers: dict[str, list[Recording]] = defaultdict(list)
        for recording in recordings:
            speakers[recording.speaker].append(recording)
        for number, name in enumerate(sorted(speakers), start=100):
            folder, transcripts = root / part / f"{number}" / f"{CHAPTER}", []
            for index, recording in enumerate(speakers[name]):
                utterance = f"{number}-{CHAPTER}-{index:04d}"
                write_audio(folder / f"{utterance}.flac", read_mono(str(recording.path), RATE))
                transcripts.append((utterance, recording.text.upper()))
            write_lines(folder / f"{number}-{CHAPTER}.trans.txt", transcripts)
    return {f"{EXPERT}.corpus.path": root, f"{EXPERT}.corpus.lexicon": [str(LEXICON)]}


def with_noises(root: Path) -> dict[str, object]:
    """Adds the noises that KS needs beside the words; returns its options."""
    rng = np.random.default_rng(0)
    for number in range(4):
        noise = 0.01 * (number + 1) * rng.standard_normal(3 * RATE)
        write_audio(root / "train" / "_background_noise_" / f"{number}.wav", noise)
        write_audio(root / "test" / "_silence_" / f"{number}.wav", noise[:RATE])
    return {
        f"{DATARC}.speech_commands_root": root / "train",
        f"{DATARC}.speech_commands_test_root": root / "test",
    }


def one_second(samples: np.ndarray) -> np.ndarray:
    """The beginning of a waveform, or all of it and silence, (RATE,)."""
    return np.pad(samples[:RATE], (0, max(0, RATE - len(samples))))


def speaker_id(index: int, *, is_valid: bool) -> str:
    """A name that Speech Commands' hash assigns to validation or training."""
    for salt in range(1000):
        name = f"{index:04x}{salt:04x}"
        digest = int(hashlib.sha1(name.encode()).hexdigest(), 16)
        percentage = digest % (LARGEST_HASH + 1) * (100 / LARGEST_HASH)
        if percentage < 10 if is_valid else percentage >= 20:
            return name
    raise RuntimeError("no such name among a thousand")


def write_audio(path: Path, samples: np.ndarray) -> None:
    """Writes 16-bit audio in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1, 1), RATE, subtype="PCM_16")


def _strings(part: str) -> list[Recording]:
    data = RECIPE / "data" / f"digits_{part}"
    words, speakers = read_ctm(data / WORDS_CTM), read_scp(data / "utt2spk")
    return [
        Recording(speakers[name], " ".join(word.word for word in words[name]), RECIPE / wav)
        for name, wav in read_scp(data / "wav.scp").items()
    ]


def _facts(file: Path) -> tuple[int, str, str, int]:
    """Digit, speaker, part and number of a recording."""
    digit, speaker, number = file.stem.split("_")
    part = "test" if int(number) < 5 else "dev" if int(number) < 10 else "train"
    return int(digit), speaker, part, int(number)


def main(cmd: Sequence[str] | None = None) -> None:
    """Writes the three corpora and a data.yaml that names them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fsdd", type=Path, help="folder of the Free Spoken Digit Dataset")
    parser.add_argument("directory", type=Path, help="folder of the corpora")
    args = parser.parse_args(cmd)
    with command_errors("digits_superb"):
        make_corpora(args.fsdd, args.directory.absolute())


if __name__ == "__main__":
    main()
