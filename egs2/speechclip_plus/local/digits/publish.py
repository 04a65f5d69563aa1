"""Make the model that the repository holds from one that stage 10 packed.

python -m local.digits.publish exp/EXPERIMENT/model models/digits

The folder gets a stored model, its card, the tables of its results, and examples of unseen
speakers. Weights have half precision. Of CLIP's sub-words, only those that name digits keep their
embeddings; the others do not occur in the training of the small CLIP.
"""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import torch
from local.shared.reduced_tokenizer import ReducedTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor

from espnet_plugin.data.record import RECORD
from espnet_plugin.pretrained.publishing import CARD_FILE, RESULTS_FILE
from espnet_plugin.teachers.clip_weights import ROWS
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.templates import templates_in

from .examples import write_examples
from .strings import WORDS

SUBWORDS = "token_embedding.weight"  # in open_clip's form of a text tower
CARD = "card.md.jinja"
_OF_TEXTS = re.compile(r"\| (speech → (text|speech)|text → speech) ")


def smaller_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a safetensors file in half precision, without embeddings that name no digit."""
    weights = load_file(path)
    if SUBWORDS in weights:
        weights[SUBWORDS + ROWS] = torch.tensor(ReducedTokenizer(WORDS).full_ids)
        weights[SUBWORDS] = weights[SUBWORDS][weights[SUBWORDS + ROWS]]
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in weights.items()
    }


def card(name: str) -> str:
    """The model's card.

    Args:
        name: Folder of the model, relative to the recipe's.
    """
    return templates_in(Path(__file__).parent).get_template(CARD).render(name=name)


def fewer_tables(results: str) -> str:
    """The tables of RESULTS.md without those of searches for texts, which have ten words only."""
    blocks = re.split(r"\n{2,}", results)
    return "\n\n".join(block for block in blocks if not _OF_TEXTS.match(block))


@command_errors("publish")
def main(cmd: list[str] | None = None) -> None:
    """Write the smaller model; files of the folder that it does not have stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packed", type=Path, help="model that stage 10 packed")
    parser.add_argument("folder", type=Path, help="folder to write into")
    parser.add_argument("--data_dir", type=Path, default=Path("data/digits_strangers"))
    args = parser.parse_args(cmd)
    ignore = shutil.ignore_patterns(RECORD)
    shutil.copytree(args.packed, args.folder, dirs_exist_ok=True, ignore=ignore)
    for path in sorted(args.folder.rglob("*.safetensors")):
        with atomic_path(path) as temporary:
            save_file(smaller_weights(path), temporary, metadata={"format": "pt"})
    (args.folder / CARD_FILE).write_text(card(str(args.folder)), encoding="utf-8")
    results = args.folder / RESULTS_FILE
    results.write_text(fewer_tables(results.read_text(encoding="utf-8")), encoding="utf-8")
    write_examples(args.data_dir, args.folder / "examples")


if __name__ == "__main__":
    main()
