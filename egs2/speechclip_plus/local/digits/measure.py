"""Measure what the recipe's scores of digits do not have, and print a line of JSON for each model.

python -m local.digits.measure exp/EXPERIMENT/inference_TAG/digits_strangers ...

- image first, among all images of the corpus, by each branch and by both with the weight that dev
  chose
- all words right: of strings in which a word is said twice in a row, and of the others
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from espnet_plugin.data.image_embedding import read_embedding
from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.words import END_OF_WORD
from espnet_plugin.evaluation.fusion import Gallery, fuse
from espnet_plugin.pretrained.choices import CHOICES_FILE
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.small_files import read_json


def image_first(data: InferenceSet, rows: np.ndarray, gallery: Gallery) -> float:
    """Share of the utterances whose image has the highest cosine of a gallery.

    Args:
        data: Utterances and their images.
        rows: Embeddings of the utterances, (utterances, dim).
        gallery: Images that they search.
    """
    nearest = (rows @ gallery.embeddings.T).argmax(axis=1)
    found = [gallery.images[place] for place in nearest]
    return float(np.mean([a == b for a, b in zip(found, data.image_of, strict=True)]))


def all_right(data: InferenceSet, *, twice: bool) -> float:
    """Share of the strings whose words are all named, in order and as often as they were said.

    Args:
        data: A set with keywords and captions.
        twice: Look at the strings in which a word is said twice in a row, or at the others.
    """
    right = []
    for utterance in data.captioned_keywords:
        said = utterance.caption.split()
        if twice == any(a == b for a, b in zip(said, said[1:], strict=False)):
            named = [word.token.removesuffix(END_OF_WORD) for word in utterance.keywords]
            right.append(named == said)
    return float(np.mean(right))


@command_errors("measure")
def main(cmd: list[str] | None = None) -> None:
    """Measure some sets that were inferred."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path, help="folders that stage 8 wrote")
    parser.add_argument("--images", required=True, help="image_embedding.scp of stage 4")
    args = parser.parse_args(cmd)
    files = read_scp(args.images)
    gallery = Gallery((*files,), np.vstack([read_embedding(file) for file in files.values()]))
    for folder in args.sets:
        data = read_inference_set(folder)
        chosen = read_json(folder.parent / CHOICES_FILE)
        first = {name: image_first(data, rows, gallery) for name, rows in data.branches.items()}
        first["both"] = image_first(data, fuse(data, chosen["fusion_weight"]), gallery)
        line = {"set": str(folder), "images": len(files), "image first": first}
        for name, twice in (("a word twice in a row", True), ("no word twice in a row", False)):
            line[f"all words right, {name}"] = all_right(data, twice=twice)
        sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
