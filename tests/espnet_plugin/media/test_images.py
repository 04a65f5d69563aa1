"""An image has one reading, in whichever form it was saved: that of its 8-bit RGB version."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from espnet_plugin.media import images
from espnet_plugin.media.images import bad_images, is_image, lacks_package, read_image
from espnet_plugin.utils.errors import DataError
from tests.phones import write_heic

RNG = np.random.RandomState(0)
RGB = RNG.randint(0, 256, (6, 8, 3)).astype(np.uint8)
GREY = RGB[..., 0]
ALPHA = RNG.randint(0, 256, (6, 8)).astype(np.uint8)
QUARTER_TURN = 6  # EXIF: the top of what is seen is stored at the right


def over_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return share * pixels + (1 - share) * 255


def three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def plain(path: Path) -> np.ndarray:
    Image.fromarray(RGB).save(path.with_suffix(".png"))
    return RGB


def grey(path: Path) -> np.ndarray:
    Image.fromarray(GREY).save(path.with_suffix(".png"))
    return three(GREY)


def sixteen_bit_png(path: Path) -> np.ndarray:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path.with_suffix(".png"))
    return three(GREY)


def sixteen_bit_tiff(path: Path) -> np.ndarray:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path.with_suffix(".tiff"))
    return three(GREY)


def floating_point_tiff(path: Path) -> np.ndarray:
    Image.fromarray((GREY / 255).astype(np.float32)).save(path.with_suffix(".tiff"))
    return three(GREY)


def transparent(path: Path) -> np.ndarray:
    Image.fromarray(np.dstack([RGB, ALPHA])).save(path.with_suffix(".png"))
    return over_white(RGB, ALPHA)


def grey_and_transparent(path: Path) -> np.ndarray:
    Image.fromarray(np.dstack([GREY, ALPHA]), "LA").save(path.with_suffix(".png"))
    return over_white(three(GREY), ALPHA)


def palette_with_a_transparent_colour(path: Path) -> np.ndarray:
    indices = RNG.randint(0, 3, (6, 8)).astype(np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([250, 10, 20, 0, 0, 0, 30, 40, 50])
    image.save(path.with_suffix(".png"), transparency=1)
    return np.array([[250, 10, 20], [255, 255, 255], [30, 40, 50]])[indices]


def turned(path: Path) -> np.ndarray:
    exif = Image.Exif()
    exif[0x0112] = QUARTER_TURN
    Image.fromarray(np.rot90(RGB)).save(path.with_suffix(".png"), exif=exif)
    return RGB


def animated(path: Path) -> np.ndarray:
    frames = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    frames[0].save(
        path.with_suffix(".webp"), save_all=True, append_images=frames[1:], lossless=True
    )
    return RGB


def cmyk(path: Path) -> np.ndarray:
    inks = np.dstack([255 - RGB, np.zeros_like(GREY)])  # no black
    Image.fromarray(inks, "CMYK").save(path.with_suffix(".tiff"))
    return RGB


FORMS = (
    plain, grey, sixteen_bit_png, sixteen_bit_tiff, floating_point_tiff, transparent,
    grey_and_transparent, palette_with_a_transparent_colour, turned, animated, cmyk,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_is_read_as_its_rgb_version(
    form: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    expected = form(tmp_path / "picture")
    (path,) = tmp_path.iterdir()
    with Image.open(path) as opened:
        for given in (path, str(path), opened):
            image = read_image(given)
            assert image.mode == "RGB"
            assert np.abs(np.asarray(image, dtype=float) - expected).max() <= 1


def test_pixels_as_pillow_takes_them() -> None:
    assert np.array_equal(np.asarray(read_image(RGB)), RGB)
    for pixels in (GREY, GREY.astype(np.uint16) * 257, (GREY / 255).astype(np.float32)):
        assert np.array_equal(np.asarray(read_image(pixels)), three(GREY))
    seen = np.asarray(read_image(np.dstack([RGB, ALPHA])), dtype=float)
    assert np.abs(seen - over_white(RGB, ALPHA)).max() <= 1
    assert read_image(np.zeros((1, 100), np.uint8)).size == (100, 1)  # the longest


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 6, 8), np.uint8), "data type"),
        (np.full((6, 8), 200, np.float32), r"in \[0, 1\]"),
        (np.full((6, 8), np.nan, np.float32), r"in \[0, 1\]"),
        (np.zeros((1, 101), np.uint8), "101 × 1 pixels are a line"),
    ],
)
def test_pixels_of_no_picture(pixels: np.ndarray, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        read_image(pixels)


def test_bad_files_are_named(tmp_path: Path) -> None:
    Image.fromarray(RNG.randint(0, 256, (90, 90, 3)).astype(np.uint8)).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no pixels")
    (tmp_path / "empty.png").touch()
    Image.fromarray(RGB).save(tmp_path / "good.png")
    names = ("cut.jpg", "text.png", "empty.png", "gone.png", "good.png")
    bad = bad_images({name: str(tmp_path / name) for name in names})
    assert list(bad) == ["cut.jpg", "text.png", "empty.png", "gone.png"]
    for name, cause in zip(bad, ("decoded", "not an image", "empty file", "no such"), strict=True):
        assert cause in bad[name] and name not in bad[name]  # lists have the file beside it
    with pytest.raises(DataError, match="gone.png: no such file"):
        read_image(tmp_path / "gone.png")


def test_no_program_is_started_for_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    ghostscript = tmp_path / "bin" / "gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/executed\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", str(ghostscript.parent), prepend=os.pathsep)
    header = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    (tmp_path / "x.jpg").write_text(header)
    with pytest.raises(DataError, match=r"not an image that can be read \(JPEG, PNG"):
        read_image(tmp_path / "x.jpg")
    assert not (tmp_path / "executed").exists()


def test_a_phones_photograph(tmp_path: Path) -> None:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, 32:] = (250, 120, 10)
    for name in ("a.HEIC", "called.jpg"):
        path = write_heic(tmp_path / name, pixels)
        seen = np.asarray(read_image(path)).astype(int)
        assert seen.shape == pixels.shape
        assert np.abs(seen - pixels)[:, np.r_[:28, 36:64]].max() < 12  # compressed, with loss
        assert is_image(path) and not lacks_package(path)
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(DataError, match=f"{path}: (cannot be decoded|not an image)"):
            read_image(path)


def test_without_pillow_heif_it_says_what_to_install_and_what_converts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "reads_heif", lambda: False)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    path = tmp_path / "my photo.HEIC"
    path.write_bytes(b"\0\0\0\x24ftypheic" + bytes(100))
    said = rf"^{path}: .*pip install pillow-heif \(extra: phone\); or convert it to JPEG$"
    with pytest.raises(DataError, match=said):
        read_image(path)
    assert is_image(path) and lacks_package(path) and not lacks_package("a.jpg")


def test_a_folder_is_no_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder, not a file"):
        read_image(tmp_path)
