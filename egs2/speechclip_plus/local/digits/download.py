"""Fetch the Free Spoken Digit Dataset into a folder, as FSDD expects it.

python -m local.digits.download --target downloads/digits
"""

from __future__ import annotations

from local.shared.command import download_command
from local.shared.fetch import Resource

PARTS = (
    Resource(
        "free-spoken-digit-dataset.zip",
        ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/26eb9aa.zip",),
        folder="fsdd",
        present=("fsdd",),
        by_hand=(
            "The data set is at https://github.com/Jakobovski/free-spoken-digit-dataset (16 MB). "
            "Put {name} into {directory}, or unpack it there."
        ),
    ),
)

if __name__ == "__main__":
    download_command("digits", PARTS, __doc__)
