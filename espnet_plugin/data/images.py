"""Find the pictures that cannot be read before the image encoder meets them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from espnet_plugin.utils.progress import progress


def image_problem(path: str) -> str | None:
    """Decodes a picture whole and says what is wrong with it, or None.

    Opening it is not enough: a truncated JPEG shows only when its last rows are decoded.
    """
    from PIL import Image

    if not Path(path).is_file():
        return "no such file"
    if Path(path).stat().st_size == 0:
        return "empty file"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF data is none of our business
            with Image.open(path) as image:
                image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be decoded ({error})"
    return None


def bad_images(images: Mapping[str, str], *, jobs: int = 1) -> dict[str, str]:
    """Checks pictures in parallel.

    Args:
        images: Image id → file.
        jobs: Number of processes.

    Returns:
        Image id → ``"<file>: <what is wrong>"`` of the bad ones.
    """
    paths = list(images.values())
    with ProcessPoolExecutor(max_workers=max(1, min(jobs, len(paths)))) as pool:
        found = pool.map(image_problem, paths, chunksize=64)
        rows = progress(found, description="pictures checked", total=len(paths), unit="image")
        return {
            key: f"{path}: {problem}"
            for (key, path), problem in zip(images.items(), rows, strict=True)
            if problem
        }
