"""Draw the examples of the page from the utterances of new voices.

python -m local.digits.examples --data_dir data/digits_strangers --output models/digits/examples

The strings come in an order that is drawn. The two speakers take turns: each gets the next string
that the speaker says, in one of the speaker's utterances of it, which is drawn, too. No model is
asked, so the examples show what is usual. The recordings are under CC BY-SA 4.0.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from local.mini.config import random_stream

from espnet_plugin.data.scp import read_scp, write_lines
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.errors import DataError

from .speech import STRANGERS
from .strings import write_changed

EXAMPLES = 4


def draw_examples(speaker_of: Mapping[str, str]) -> dict[str, str]:
    """Draw utterances by the rule above; return them by their strings, in the order drawn.

    Args:
        speaker_of: Speaker of each utterance ``<set>_<string>_<number>``.

    Raises:
        DataError: If the speakers do not say enough strings.
    """
    rng = random_stream(0, "examples")
    said: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for utterance in sorted(speaker_of):
        said[utterance.split("_")[1]][speaker_of[utterance]].append(utterance)
    strings = sorted(said)
    drawn: dict[str, str] = {}
    for place in rng.permutation(len(strings)):
        own = said[strings[place]][STRANGERS[len(drawn) % len(STRANGERS)]]
        if own:
            drawn[strings[place]] = own[rng.integers(len(own))]
        if len(drawn) == EXAMPLES:
            return drawn
    raise DataError(f"{', '.join(STRANGERS)} say {len(drawn)} of {EXAMPLES} strings in turn")


@command_errors("examples")
def main(cmd: list[str] | None = None) -> None:
    """Write the recordings, named by their strings, and their tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", type=Path, default=Path("data/digits_strangers"))
    parser.add_argument("--output", type=Path, default=Path("models/digits/examples"))
    args = parser.parse_args(cmd)
    names = ("wav.scp", "text", "utt2image", "image.scp")
    wavs, texts, image_of, images = (read_scp(args.data_dir / name) for name in names)
    drawn = draw_examples(read_scp(args.data_dir / "utt2spk"))
    args.output.mkdir(parents=True, exist_ok=True)
    for string, utterance in drawn.items():
        write_changed(args.output / f"{string}.wav", Path(wavs[utterance]).read_bytes())
    tables = {
        "wav.scp": {string: str(args.output / f"{string}.wav") for string in drawn},
        "text": {string: texts[utterance] for string, utterance in drawn.items()},
        "utt2image": {string: image_of[utterance] for string, utterance in drawn.items()},
        "image.scp": {
            image_of[utterance]: images[image_of[utterance]] for utterance in drawn.values()
        },
    }
    for name, table in tables.items():
        write_lines(args.output / name, table.items())
    for older in args.output.glob("[0-9][0-9][0-9].wav"):
        if older.stem not in drawn:
            older.unlink()


if __name__ == "__main__":
    main()
