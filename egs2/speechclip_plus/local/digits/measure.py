"""Print what the scores of digits lack: R@1 among more images, exact match of repeated words.

models/digits/README.md has an example. The images are the set's, then those of the table; of
equally near ones the first counts. The keys are those of ``results/digits.json``.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from local.sweep.runs import BRANCH_KEYS

from espnet_plugin.data.image_embedding import read_embedding
from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.words import END_OF_WORD
from espnet_plugin.evaluation.fusion import fuse
from espnet_plugin.utils.command import command_errors


@command_errors("measure")
def main(cmd: list[str] | None = None) -> None:
    """Measures one set that was inferred."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", type=Path, help="folder that stage 8 wrote")
    parser.add_argument("images", help="image_embedding.scp of stage 4")
    parser.add_argument("weight", type=float, help="fusion_weight of choices.json")
    args = parser.parse_args(cmd)
    data, files = read_inference_set(args.set), read_scp(args.images)
    rows = {**data.branches, "fusion": fuse(data, args.weight)}
    every = np.vstack([read_embedding(file) for file in files.values()])
    found = {}
    for names, images in (([*data.images], data.image), ([*files], every)):
        for branch, queries in rows.items():
            nearest = np.array(names)[(queries @ images.T).argmax(axis=1)]
            measure = f"image first ({BRANCH_KEYS[branch]}) among {len(names):,} images"
            found[measure] = float(np.mean(nearest == data.image_of))
    right: dict[str, list[bool]] = {"a": [], "no": []}
    for utterance in data.captioned_keywords:
        said = utterance.caption.split()
        named = [word.token.removesuffix(END_OF_WORD) for word in utterance.keywords]
        twice = any(a == b for a, b in zip(said, said[1:], strict=False))
        right["a" if twice else "no"].append(named == said)
    for kind, values in right.items():
        found[f"all words right, {kind} word twice in a row"] = float(np.mean(values))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
