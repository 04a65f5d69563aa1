"""The small corpora that are damaged here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.egs2.corpora.conftest import flickr8k, spokencoco, write_picture, write_wav

__all__ = ["custom", "flickr8k", "spokencoco"]


@pytest.fixture
def custom(tmp_path: Path) -> Path:
    """Twelve pictures with two recordings each, the last four of dev and test."""
    root = tmp_path / "custom"
    rows = ["wav\timage\tsplit\tspeaker\tcaption"]
    for image, split in enumerate(["train"] * 8 + ["dev", "dev", "test", "test"]):
        write_picture(root / "images" / f"{image}.jpg")
        for n in range(2):
            write_wav(root / "wavs" / f"{image}-{n}.wav")
            rows.append(f"{image}-{n}.wav\t{image}.jpg\t{split}\tAda\tcaption {n} of {image}")
    (root / "corpus.tsv").write_text("\n".join(rows) + "\n")
    return root
