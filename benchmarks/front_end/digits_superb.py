r"""Makes corpora in the layouts of SUPERB's data sets from recordings of people who say digits.

KS asks which of ten digits is said, in single recordings. SID asks which of six people speaks. PR
asks for the phones of a string. KS and SID split the recordings as the corpus does, PR has the sets
``digits_train``, ``digits_dev`` and ``digits_test``. Scores are not those of SUPERB's data sets.

Example, after ``./run.sh --corpus digits``:
    python -m benchmarks.front_end.digits_superb FSDD superb_digits
    python -m s3prl_upstream.superb run superb_digits/data.yaml exp/superb_digits --steps 200 \
        --seed 0 --upstream speechclip_plus=MODEL --upstream hf_hubert_custom=HUBERT
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from benchmarks.front_end.layouts import (
    DATARC,
    KEYWORDS,
    RATE,
    Recording,
    librispeech,
    one_second,
    speaker_id,
    with_noises,
    write_audio,
    write_data,
    write_lines,
)
from espnet_plugin.data.datadir import WORDS_CTM
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.alignments import read_ctm
from espnet_plugin.media.audio import read_mono
from espnet_plugin.utils.command import command_errors

logger = logging.getLogger(__name__)

RECIPE = Path(__file__).parents[2] / "egs2" / "speechclip_plus"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
RATE_OF_FEW_UPDATES = {"config.optimizer.lr": 1e-3}  # SUPERB's 1e-4 is for 200,000 updates


def main(cmd: Sequence[str] | None = None) -> None:
    """Writes the three corpora and a data.yaml that names them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fsdd", type=Path, help="folder of the Free Spoken Digit Dataset")
    parser.add_argument("directory", type=Path, help="folder of the corpora")
    args = parser.parse_args(cmd)
    with command_errors("digits_superb"):
        make_corpora(args.fsdd, args.directory.absolute())


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
    few = len(train) // 4  # utterances of dev and of test, which all upstreams share
    strings = {"train-clean-100": train, "dev-clean": dev[:few], "test-clean": test[:few]}
    tasks = {
        "KS": keyword_spotting(files, directory / "KS"),
        "SID": speaker_identification(files, directory / "SID"),
        "PR": librispeech(strings, directory / "PR"),
    }
    path = write_data(directory, tasks)
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
    return with_noises(root) | RATE_OF_FEW_UPDATES


def speaker_identification(files: Sequence[Path], root: Path) -> dict[str, object]:
    """SID. Each speaker says each digit in all three parts."""
    places = {"train": 1, "dev": 2, "test": 3}
    lines = []
    for file in files:
        digit, speaker, part, number = _facts(file)
        name = f"id{10001 + SPEAKERS.index(speaker)}/{part}/{digit}_{number}.wav"
        write_audio(root / "dev" / "wav" / name, read_mono(str(file), RATE))
        lines.append(f"{places[part]} {name}")
    (root / "test" / "wav").mkdir(parents=True)
    write_lines(root / "iden_split.txt", lines)
    data = {f"{DATARC}.file_path": root, f"{DATARC}.meta_data": root / "iden_split.txt"}
    return data | {f"{DATARC}.train_batch_size": 32} | RATE_OF_FEW_UPDATES


def _strings(part: str) -> list[Recording]:
    data = RECIPE / "data" / f"digits_{part}"
    words, speakers = read_ctm(data / WORDS_CTM), read_scp(data / "utt2spk")
    return [
        Recording(speakers[name], " ".join(word.text for word in words[name]), RECIPE / wav)
        for name, wav in read_scp(data / "wav.scp").items()
    ]


def _facts(file: Path) -> tuple[int, str, str, int]:
    """Digit, speaker, part and number of a recording."""
    digit, speaker, number = file.stem.split("_")
    part = "test" if int(number) < 5 else "dev" if int(number) < 10 else "train"
    return int(digit), speaker, part, int(number)


if __name__ == "__main__":
    main()
