"""Make the model that the repository holds from one that stage 10 packed.

python -m local.digits.publish exp/EXPERIMENT/PACKED.zip models/digits/model.zip

Weights get half precision. Of CLIP's sub-words, only those that name digits keep their embeddings.
The others, which training of the small CLIP never read, become zeros, which need no room in a zip
file.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path

import torch
from local.mini.teacher_text import ReducedTokenizer
from safetensors.torch import load, save

from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.command import command_errors

from .strings import WORDS

SUBWORDS = "token_embedding.weight"  # in open_clip's form of a text tower


def smaller_weights(content: bytes) -> bytes:
    """Weights of a safetensors file in half precision, without embeddings that name no digit."""
    weights = load(content)
    if SUBWORDS in weights:
        read = ReducedTokenizer(WORDS).full_ids
        table, weights[SUBWORDS] = weights[SUBWORDS], torch.zeros_like(weights[SUBWORDS])
        weights[SUBWORDS][read] = table[read]
    halved = {
        name: value.half() if value.is_floating_point() else value
        for name, value in weights.items()
    }
    return save(halved, metadata={"format": "pt"})


@command_errors("publish")
def main(cmd: list[str] | None = None) -> None:
    """Write the smaller model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packed", type=Path, help="model that stage 10 packed")
    parser.add_argument("output", type=Path, help="zip file to write")
    args = parser.parse_args(cmd)
    with (
        zipfile.ZipFile(args.packed) as packed,
        atomic_path(args.output) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as smaller,
    ):
        for name in packed.namelist():
            content = packed.read(name)
            smaller.writestr(
                zipfile.ZipInfo(name),  # without the time: equal weights give equal files
                smaller_weights(content) if name.endswith(".safetensors") else content,
                compress_type=zipfile.ZIP_DEFLATED,
            )


if __name__ == "__main__":
    main()
