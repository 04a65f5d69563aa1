"""Draw the examples of the demo page from the utterances of unseen speakers.

The strings come in an order that is drawn. The two speakers take turns: each gets the next string
that the speaker says, in one of the speaker's utterances of it, which is drawn, too. No model is
asked, so the examples show what is usual. The recordings are under CC BY-SA 4.0.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from local.shared.randomness import random_stream

from espnet_plugin.data.scp import read_scp, write_lines

from .speech import STRANGERS

EXAMPLES = 4


def draw_examples(speaker_of: Mapping[str, str]) -> dict[str, str]:
    """Draw utterances by the rule above; return them by their strings, in the order drawn.

    Args:
        speaker_of: Speaker of each utterance ``<set>_<string>_<number>``.
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
            break
    return drawn


def write_examples(data_dir: Path, folder: Path) -> None:
    """Write the recordings, named by their strings, and their tables.

    Args:
        data_dir: The set of unseen speakers.
        folder: Folder of the examples, which is made.
    """
    names = ("wav.scp", "text", "utt2image", "image.scp")
    wavs, texts, image_of, images = (read_scp(data_dir / name) for name in names)
    drawn = draw_examples(read_scp(data_dir / "utt2spk"))
    folder.mkdir(parents=True, exist_ok=True)
    for string, utterance in drawn.items():
        shutil.copyfile(wavs[utterance], folder / f"{string}.wav")
    tables = {
        "wav.scp": {string: str(folder / f"{string}.wav") for string in drawn},
        "text": {string: texts[utterance] for string, utterance in drawn.items()},
        "utt2image": {string: image_of[utterance] for string, utterance in drawn.items()},
        "image.scp": {image_of[said]: images[image_of[said]] for said in drawn.values()},
    }
    for name, table in tables.items():
        write_lines(folder / name, table.items())
