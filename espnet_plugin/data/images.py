"""Read images as people see them, and find those that cannot be read.

Every file becomes RGB with 8 bits: turned as its EXIF data say, 16 bits scaled to 8, transparency
over white, the first frame of an animation.
"""

from __future__ import annotations

import os
import shlex
import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from espnet_plugin.data.files import MissingPackageError, require_files
from espnet_plugin.data.scp import DataError
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
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
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
        source: A file; an open image; or pixels, (height, width) or (height, width, channels) with
            1, 3 or 4 channels: 8 or 16 bits unsigned, or floating point in [0, 1].

    Raises:
        DataError: When there is no such file, or it cannot be decoded.
        TypeError: When it is something else.
        ValueError: When pixels have another shape or range.
    """
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, np.ndarray):
        return _as_seen(_from_pixels(source))
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
        MissingPackageError: When it is HEIC and pillow-heif is not installed.
        OSError: When it cannot be opened; ``UnidentifiedImageError`` when it is of no such format.
    """
    from PIL import Image, UnidentifiedImageError

    Image.init()
    if is_heif := _is_heif(path):
        reads_heif()
    try:
        return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    except UnidentifiedImageError as error:
        if not is_heif:
            raise
        if reads_heif():
            raise OSError("HEIC that is cut off or damaged") from error
        source, target = (shlex.quote(str(name)) for name in (path, Path(path).with_suffix(".jpg")))
        raise MissingPackageError(
            f"{path}: {HEIF_PACKAGE}; or convert it: magick {source} {target}"
        ) from error


@cache
def reads_heif() -> bool:
    """Whether pillow-heif is installed, which makes Pillow open HEIC from now on."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _is_heif(path: str | Path) -> bool:
    with open(path, "rb") as stream:
        head = stream.read(12)
    return head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS


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
        pixels = np.asarray(image)
        if image.mode == "I" and pixels.min() >= 0 and pixels.max() <= 65535:
            pixels = pixels.astype(np.uint16)  # some formats give 16 bits this way
        image = _from_pixels(pixels)
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image)
    return image.convert("RGB")


def _from_pixels(pixels: np.ndarray) -> Image:
    """An 8-bit image of pixels: unsigned integers of 8 or 16 bits, or floating point in [0, 1]."""
    from PIL import Image

    shape = pixels.shape[:2] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels.shape
    if 0 in shape or not (len(shape) == 2 or len(shape) == 3 and shape[2] in (3, 4)):
        raise ValueError(
            f"pixels have shape {pixels.shape}: an image is (height, width) or (height, width, "
            "channels) with 1, 3 or 4 channels"
        )
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * 255
    elif np.issubdtype(pixels.dtype, np.floating):
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # NaN is in no range
            raise ValueError("floating-point pixels must be in [0, 1]")
        pixels = np.rint(pixels * 255)
    elif pixels.dtype.kind == "u" and pixels.dtype.itemsize == 2:
        pixels = np.rint(pixels / 257)
    elif pixels.dtype != np.uint8:
        raise ValueError(
            f"{pixels.dtype} pixels: give integers of 8 or 16 bits, unsigned, or floating point"
        )
    return Image.fromarray(pixels.astype(np.uint8).reshape(shape))


def is_image(path: str | Path) -> bool:
    """Whether a file has the name of an image."""
    return _suffix(path) in SUFFIXES


def lacks_package(path: str | Path) -> bool:
    """Whether a file has the name of an image that needs a missing package."""
    return _suffix(path) in HEIF_SUFFIXES and not reads_heif()


def _suffix(path: str | Path) -> str:
    return os.path.splitext(path)[1].lower()


def image_problem(path: str) -> str | None:
    """The problem with an image file, or None."""
    try:
        read_image(path)
    except DataError as error:
        return str(error)
    return None


def bad_images(images: Mapping[str, str], *, jobs: int = 1) -> dict[str, str]:
    """Checks images in parallel.

    Args:
        images: Image id → file.
        jobs: Number of processes.

    Returns:
        Image id → ``"<file>: <what is wrong>"`` of the bad ones.
    """
    paths = list(images.values())
    with ProcessPoolExecutor(max_workers=max(1, min(jobs, len(paths)))) as pool:
        found = pool.map(image_problem, paths, chunksize=64)
        rows = progress(found, description="images checked", total=len(paths), unit="image")
        return {key: problem for key, problem in zip(images, rows, strict=True) if problem}
