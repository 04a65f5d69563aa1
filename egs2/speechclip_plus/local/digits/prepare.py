"""Make the digits corpus: people say strings of digits, beside images of handwritten digits.

python -m local.digits.prepare --root /corpora/free-spoken-digit-dataset --target downloads/digits

What is real: the voices and the handwriting. The recordings are the Free Spoken Digit Dataset's
(Zohar Jackson and others, CC BY-SA 4.0): six men with American, Belgian, German and Greek accents
say each digit fifty times, 3,000 recordings of 8 kHz. The handwriting is scikit-learn's copy of
1,797 digits of 8 x 8 pixels (UCI, "Optical recognition of handwritten digits", CC BY 4.0).

What is not: recordings of one speaker are joined to strings, with up to 300 ms of silence before
each word and at the end, so the word boundaries are known. All 1,000 ordered triples are used once,
and no utterance is said twice. Of the training speakers, recordings 0 to 4 are for testing, as
their owners split them, 5 to 9 for development. Training utterances are played faster or slower,
and get another loudness of high against low tones and some noise, because four voices are few.

- train: 760 images, 3,800 utterances of four speakers.
- dev: 80 images of three digits and 80 of two, four or five, 800 utterances of the same speakers.
- test: 160 images, 800 utterances of the same speakers.
- strangers: the images of test, 800 utterances of two unseen speakers, of all their recordings.
- five: 160 images of five digits, 800 utterances of the training speakers.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import defaultdict
from pathlib import Path

from local.shared.layout import corpus_root, find_one
from local.shared.randomness import seed_of
from local.shared.sets import prepare_sets
from local.shared.spoken_captions import Corpus, SpokenCaption

from espnet_plugin.data.datadir import RECORDINGS, WORDS_CTM
from espnet_plugin.data.scp import write_scp
from espnet_plugin.evaluation.alignments import ctm_text
from espnet_plugin.media.audio import read_header
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.errors import DataError

from .speech import SPEAKERS, STRANGERS, DigitFiles, speak
from .strings import PICTURES, draw_pictures, draw_strings

REMEDY = (
    "Name the folder of the Free Spoken Digit Dataset in db.sh (FSDD=...), or run "
    "./run.sh --corpus digits --download true"
)
# names and contents of the 3,000 recordings of commit 26eb9aa
PUBLISHED = "0fbe6612aaa20a80ef4371894a46e060038337a518fe3d4728cb7eee7caa013c"
REPEATS = 50  # recordings of each digit by each speaker
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<number>\d+)\.wav")


def find_recordings(root: str | Path) -> tuple[DigitFiles, list[str]]:
    """Find the recordings of each split, speaker and digit; return them and notes about them.

    Raises:
        DataError: If the folder is not the data set's, or a part of it is missing.
    """
    folder = corpus_root(root, variable="FSDD", remedy=REMEDY)
    inner = (path.relative_to(folder).as_posix() for path in folder.glob("*/recordings"))
    wavs = find_one(folder, "recordings", *sorted(inner), what="recordings/", remedy=REMEDY)
    found: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    digest = hashlib.sha256()
    for path in sorted(wavs.glob("*.wav")):
        match = _NAME.fullmatch(path.name)
        if match and match["speaker"] in (*SPEAKERS, *STRANGERS):
            read_header(str(path))
            number = int(match["number"])
            split = "test" if number < 5 else "dev" if number < 10 else "train"
            split = "strangers" if match["speaker"] in STRANGERS else split
            found[split, match["speaker"], match["digit"]].append(path)
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    for speaker in (*SPEAKERS, *STRANGERS):
        for digit in "0123456789":
            count = sum(len(found[split, speaker, digit]) for split in (*PICTURES, "strangers"))
            if count < REPEATS:
                raise DataError(
                    f"{wavs}: {count} of {REPEATS} recordings {digit}_{speaker}_*.wav are there. "
                    f"Is the data set downloaded and unpacked to the end? {REMEDY}"
                )
    if digest.hexdigest() == PUBLISHED:
        return found, ["the recordings are those of commit 26eb9aa"]
    return found, ["WARNING: published results are of commit 26eb9aa; these recordings differ"]


@command_errors("digits")
def main(cmd: list[str] | None = None) -> None:
    """Make images, recordings and data directories."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default="", help="folder of the recordings (FSDD in db.sh)")
    parser.add_argument("--name", default="digits", help="of the sets; digits_seed3 has seed 3")
    parser.add_argument("--target", type=Path, required=True, help="downloads/NAME")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    args = parser.parse_args(cmd)
    recordings, notes = find_recordings(args.root)
    seed = seed_of(args.name)
    strings = draw_strings(seed)
    for part in ("images", "wavs"):
        (args.target / part).mkdir(parents=True, exist_ok=True)
    draw_pictures(strings, args.target, seed=seed)
    captions: list[SpokenCaption] = []
    for name, members in strings.items():
        made = speak(name, members, recordings, args.target, seed=seed)
        captions += made.captions
        folder = args.data_dir / f"{args.name}_{name}"
        write_text(folder / WORDS_CTM, ctm_text(sorted(made.words), made.words))
        made_of = {utterance: " ".join(names) for utterance, names in made.recordings.items()}
        write_scp(folder / RECORDINGS, made_of)
    corpus = Corpus(args.name, [args.target], captions, REMEDY, notes=notes, splits=[*strings])
    prepare_sets(corpus, args.data_dir)


if __name__ == "__main__":
    main()
