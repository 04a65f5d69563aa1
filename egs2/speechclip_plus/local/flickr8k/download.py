"""Fetch Flickr8k and the Flickr Audio Caption Corpus into a folder, as FLICKR8K expects it.

python -m local.flickr8k.download --target downloads/flickr8k
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from local.shared.download import Part, run

from espnet_plugin.data.download import Resource

FORM = (
    "Flickr8k's owners give the pictures and captions to those who fill in their form "
    "(https://forms.illinois.edu/sec/1713398). Do that, and put {name} into {directory}, or unpack "
    "it there."
)
_RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
_AUDIO = "flickr_audio.tar.gz"

PARTS = (
    Part(
        Resource("Flickr8k_text.zip", (f"{_RELEASE}/Flickr8k_text.zip",), by_hand=FORM),
        "Flickr8k_text",
        present=("Flickr8k_text/Flickr8k.token.txt", "Flickr8k.token.txt"),
    ),
    Part(
        Resource("Flickr8k_Dataset.zip", (f"{_RELEASE}/Flickr8k_Dataset.zip",), by_hand=FORM),
        "",
        present=("Flicker8k_Dataset", "Flickr8k_Dataset"),
    ),
    Part(
        Resource(
            _AUDIO,
            (f"https://groups.csail.mit.edu/sls/downloads/flickraudio/downloads/{_AUDIO}",),
            checksum="md5:9d078f1f150c26e864aa64d1d733779a",
            by_hand=(
                "The recordings (4.2 GB) are described at https://groups.csail.mit.edu/sls/"
                "downloads/flickraudio; their archive has moved before. The same recordings are "
                "in the data set deep9539/flickr-audio-image on Hugging Face. Put {name} into "
                "{directory}, or unpack it there."
            ),
        ),
        "",
        present=("flickr_audio/wavs",),
    ),
)


def download_flickr8k(target: Path) -> None:
    """Fetches and unpacks what is not there yet."""
    run(PARTS, target)


def main(cmd: Sequence[str] | None = None) -> None:
    """Fetches; what cannot be fetched ends it with one message and exit code 1."""
    from local.shared.download import command_line

    command_line(__doc__, "flickr8k", download_flickr8k, cmd)


if __name__ == "__main__":
    main()
