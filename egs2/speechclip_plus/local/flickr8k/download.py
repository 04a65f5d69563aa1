"""Fetch Flickr8k and the Flickr Audio Caption Corpus into a folder, as FLICKR8K expects it.

python -m local.flickr8k.download --target downloads/flickr8k
"""

from __future__ import annotations

from local.shared.command import download_command
from local.shared.fetch import Resource

FORM = (
    "Flickr8k's owners give the images and captions to those who fill in their form "
    "(https://forms.illinois.edu/sec/1713398). Do that, and put {name} into {directory}, or unpack "
    "it there."
)
_RELEASE = "https://github.com/jbrownlee/Datasets/releases/download/Flickr8k"
_AUDIO = "flickr_audio.tar.gz"

PARTS = (
    Resource(
        "Flickr8k_text.zip",
        (f"{_RELEASE}/Flickr8k_text.zip",),
        "Flickr8k_text",
        present=("Flickr8k_text/Flickr8k.token.txt", "Flickr8k.token.txt"),
        by_hand=FORM,
    ),
    Resource(
        "Flickr8k_Dataset.zip",
        (f"{_RELEASE}/Flickr8k_Dataset.zip",),
        present=("Flicker8k_Dataset", "Flickr8k_Dataset"),
        by_hand=FORM,
    ),
    Resource(
        _AUDIO,
        (f"https://groups.csail.mit.edu/sls/downloads/flickraudio/downloads/{_AUDIO}",),
        present=("flickr_audio/wavs",),
        checksum="md5:9d078f1f150c26e864aa64d1d733779a",
        by_hand=(
            "The recordings (4.2 GB) are described at https://groups.csail.mit.edu/sls/"
            "downloads/flickraudio; their archive has moved before. The same recordings are "
            "in the data set deep9539/flickr-audio-image on Hugging Face. Put {name} into "
            "{directory}, or unpack it there."
        ),
    ),
)

if __name__ == "__main__":
    download_command("flickr8k", PARTS, __doc__)
