"""Fetch SpokenCOCO, MSCOCO's pictures of 2014 and Karpathy's splits.

    python -m local.spokencoco.download --target downloads/spokencoco

SPOKENCOCO is then <target>/SpokenCOCO and MSCOCO is <target>/mscoco.
"""

from __future__ import annotations

from local.shared.command import download_command
from local.shared.download import Part

from espnet_plugin.data.download import Resource

_COCO = (
    "http://images.cocodataset.org/zips",
    "https://s3.amazonaws.com/images.cocodataset.org/zips",
)
_BY_HAND = "Put {name} into {directory}, or unpack it there."

PARTS = (
    Part(
        Resource(
            "ksplit.tar.gz",
            ("https://huggingface.co/speechclip/models/resolve/main/ksplit.tar.gz",),
            by_hand=(
                "Karpathy's splits are in dataset_coco.json of caption_datasets.zip, too "
                "(https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip): "
                "put that file, or the unpacked ksplit folder, into {directory}/SpokenCOCO."
            ),
        ),
        "SpokenCOCO",
        present=("SpokenCOCO/ksplit/SpokenCOCO_ksplit_test.json", "SpokenCOCO/dataset_coco.json"),
    ),
    Part(
        Resource(
            "train2014.zip",
            tuple(f"{base}/train2014.zip" for base in _COCO),
            size=13510573713,
            checksum="md5:0da8c0bd3d6becc4dcb32757491aca88",
            by_hand=f"MSCOCO's pictures are at https://cocodataset.org. {_BY_HAND}",
        ),
        "mscoco",
        present=("mscoco/train2014",),
    ),
    Part(
        Resource(
            "val2014.zip",
            tuple(f"{base}/val2014.zip" for base in _COCO),
            size=6645013297,
            checksum="md5:a3d79f5ed8d289b7a7554ce06a5782b3",
            by_hand=f"MSCOCO's pictures are at https://cocodataset.org. {_BY_HAND}",
        ),
        "mscoco",
        present=("mscoco/val2014",),
    ),
    Part(
        Resource(
            "SpokenCOCO.tar.gz",
            ("https://data.csail.mit.edu/placesaudio/SpokenCOCO.tar.gz",),
            by_hand=(
                "The recordings (64 GB) are described at "
                f"https://groups.csail.mit.edu/sls/downloads/placesaudio. {_BY_HAND}"
            ),
        ),
        "",
        present=("SpokenCOCO/wavs",),
    ),
)

if __name__ == "__main__":
    download_command("spokencoco", PARTS, __doc__)
