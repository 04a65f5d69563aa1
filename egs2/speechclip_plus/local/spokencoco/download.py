"""Fetch SpokenCOCO, MSCOCO's images of 2014 and Karpathy's splits.

    python -m local.spokencoco.download --target downloads/spokencoco

SPOKENCOCO is then <target>/SpokenCOCO and MSCOCO is <target>/mscoco.
"""

from __future__ import annotations

from local.shared.command import download_command
from local.shared.fetch import Resource

_BY_HAND = "Put {name} into {directory}, or unpack it there."


def _images(name: str, size: int, md5: str) -> Resource:
    mirrors = ("http://images.cocodataset.org", "https://s3.amazonaws.com/images.cocodataset.org")
    return Resource(
        f"{name}.zip",
        tuple(f"{mirror}/zips/{name}.zip" for mirror in mirrors),
        "mscoco",
        present=(f"mscoco/{name}",),
        size=size,
        checksum=f"md5:{md5}",
        by_hand=f"MSCOCO's images are at https://cocodataset.org. {_BY_HAND}",
    )


PARTS = (
    Resource(
        "ksplit.tar.gz",
        ("https://huggingface.co/speechclip/models/resolve/main/ksplit.tar.gz",),
        "SpokenCOCO",
        present=("SpokenCOCO/ksplit/SpokenCOCO_ksplit_test.json", "SpokenCOCO/dataset_coco.json"),
        by_hand=(
            "Karpathy's splits are in dataset_coco.json of caption_datasets.zip, too "
            "(https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip): "
            "put that file, or the unpacked ksplit folder, into {directory}/SpokenCOCO."
        ),
    ),
    _images("train2014", 13510573713, "0da8c0bd3d6becc4dcb32757491aca88"),
    _images("val2014", 6645013297, "a3d79f5ed8d289b7a7554ce06a5782b3"),
    Resource(
        "SpokenCOCO.tar.gz",
        ("https://data.csail.mit.edu/placesaudio/SpokenCOCO.tar.gz",),
        present=("SpokenCOCO/wavs",),
        by_hand=(
            "The recordings (64 GB) are described at "
            f"https://groups.csail.mit.edu/sls/downloads/placesaudio. {_BY_HAND}"
        ),
    ),
)

if __name__ == "__main__":
    download_command("spokencoco", PARTS, __doc__)
