"""Read images as people see them, and find those that cannot be read.

Every file becomes RGB with 8 bits. It is turned as its EXIF data say, 16 bits are scaled to 8,
transparency is put over white, and the first frame of an animation is taken.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.files import MissingPackageError, require_files
from espnet_plugin.utils.progress import progress

if TYPE_CHECKING:
    from PIL.Image import Image

WHITE = (255, 255, 255, 255)
# Times the shorter side. CLIP's transform scales the shorter side to its size, so a line of a few
# bytes would fill the memory.
LONGEST_SIDE = 100
HEIF_SUFFIXES = frozenset((".heic", ".heif", ".hif"))
SUFFIXES = HEIF_SUFFIXES.union(
    ".avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .png .ppm .tif .tiff .webp".split()
)
HEIF_PACKAGE = (
    "HEIC is read by pillow-heif, which is not installed: pip install pillow-heif (extra: phone)"
)
# Pillow looks at a file's content and starts Ghostscript for PostScript. These formats are decoded
# by libraries alone.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "HEIF")


def read_image(source: str | Path | Image | np.ndarray) -> Image:
    """Decodes a whole image, as RGB with 8 bits.

    A truncated JPEG opens, but its last rows cannot be decoded.

    Args:
        source: A file, an open image, or pixels as ``PIL.Image.fromarray`` takes them, such as
            (height, width, 3) with 8 bits unsigned.

    Raises:
        DataError: If there is no such file, or it cannot be decoded.
        TypeError: If it is something else, or pixels have another type or shape.
        ValueError: If pixels have another range.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        return _as_seen(Image.fromarray(source))
    if isinstance(source, Image.Image):
        return _as_seen(source)
    if not isinstance(source, str | Path):
        raise TypeError(
            f"an image of type {type(source).__name__}: give a file, a PIL image, or pixels "
            "(height, width, 3) as an array"
        )
    require_files([source])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd EXIF data
            with open_image(source) as image:
                return _as_seen(image)
    except MissingPackageError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{source}: not an image that can be read ({', '.join(FORMATS)}); convert it"
        ) from error
    except Exception as error:  # other content can fail in any way
        reason = str(error) or type(error).__name__
        raise DataError(f"{source}: cannot be decoded ({reason})") from error


def open_image(path: str | Path) -> Image:
    """Opens an image of a known format; reads only its header.

    Raises:
        MissingPackageError: If it is HEIC and pillow-heif is not installed.
        OSError: If it cannot be opened; ``UnidentifiedImageError`` if its format is not known.
    """
    from PIL import Image

    Image.init()
    if not lacks_package(path):
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    raise MissingPackageError(f"{path}: {HEIF_PACKAGE}; or convert it to JPEG")


@cache
def reads_heif() -> bool:
    """Makes Pillow open HEIC if pillow-heif is installed; returns whether it is."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _as_seen(image: Image) -> Image:
    from PIL import Image, ImageOps

    if max(image.size) > LONGEST_SIDE * min(image.size):
        width, height = image.size
        raise ValueError(f"{width} × {height} pixels are a line, not an image")
    image.load()  # the first frame, or the one that the caller has gone to
    try:
        image = ImageOps.exif_transpose(image)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        pass  # EXIF data that cannot be read are ignored
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = _eight_bits(np.asarray(image))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    return image.convert("RGB")


def _eight_bits(pixels: np.ndarray) -> Image:
    """A grey image of pixels of 16 bits, or of floating point in [0, 1]."""
    from PIL import Image

    most = 1 if np.issubdtype(pixels.dtype, np.floating) else 65535
    if not (pixels.min() >= 0 and pixels.max() <= most):  # NaN is in no range
        raise ValueError(f"its pixels are not in [0, {most}]")
    return Image.fromarray(np.rint(pixels * (255 / most)).astype(np.uint8))


def is_image(path: str | Path) -> bool:
    """Whether a file has the name of an image."""
    return _suffix(path) in SUFFIXES


def lacks_package(path: str | Path) -> bool:
    """Whether a file has the name of an image that needs a missing package."""
    return not reads_heif() and _suffix(path) in HEIF_SUFFIXES


def _suffix(path: str | Path) -> str:
    return os.path.splitext(path)[1].lower()


def image_problem(path: str) -> str | None:
    """What is wrong with an image file, or None."""
    try:
        read_image(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def bad_images(images: Mapping[str, str], *, jobs: int = 1) -> dict[str, str]:
    """Checks images in parallel.

    Args:
        images: File of each image id.
        jobs: Number of processes.

    Returns:
        What is wrong, for the id of each bad image.
    """
    paths = list(images.values())
    with ProcessPoolExecutor(max_workers=max(1, min(jobs, len(paths)))) as pool:
        found = pool.map(image_problem, paths, chunksize=64)
        rows = progress(found, description="images checked", total=len(paths), unit="image")
        return {key: problem for key, problem in zip(images, rows, strict=True) if problem}
