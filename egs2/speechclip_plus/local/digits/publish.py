"""Make the model that the repository holds from one that stage 10 packed.

python -m local.digits.publish exp/EXPERIMENT/model models/digits

The folder gets a stored model, its card, the tables of its results, and examples of new voices.
Weights have half precision. Of CLIP's sub-words, only those that name digits keep their embeddings;
training of the small CLIP never read the others.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from local.shared.reduced_tokenizer import ReducedTokenizer
from safetensors.torch import load_file, save_file
from torch import Tensor

from espnet_plugin.data.record import RECORD
from espnet_plugin.pretrained.publishing import write_model_card
from espnet_plugin.teachers.clip_weights import ROWS
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.command import command_errors

from .examples import write_examples
from .strings import WORDS

SUBWORDS = "token_embedding.weight"  # in open_clip's form of a text tower
LICENCE = (
    "cc-by-sa-4.0",
    "The weights that were trained are under CC BY-SA 4.0, the licence of their recordings.",
)


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
    write_model_card(args.folder, args.folder, name=str(args.folder), licence=LICENCE)
    write_examples(args.data_dir, args.folder / "examples")


if __name__ == "__main__":
    main()
