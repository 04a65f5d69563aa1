"""Digits' own measures, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from local.digits.measure import main

from espnet_plugin.data.scp import write_scp

SAID = {"u1": "one one two", "u2": "two one", "u3": "one two", "u4": "two two"}
NAMED = {"u1": "one one two", "u2": "two one", "u3": "one one two", "u4": "two"}
IMAGE_OF = {"u1": "a", "u2": "b", "u3": "a", "u4": "b"}


def test_a_larger_gallery_and_words_said_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "inference" / "digits_test"
    folder.mkdir(parents=True)
    (folder / "utterances.txt").write_text("\n".join(SAID) + "\n")
    (folder / "images.txt").write_text("a\nb\n")
    write_scp(folder / "utt2image", IMAGE_OF)
    images = np.eye(3, dtype=np.float32)
    np.save(folder / "image.npy", images[:2])
    np.save(folder / "speech_parallel.npy", images[[0, 1, 0, 2]])  # the last finds another
    np.save(folder / "speech_cascaded.npy", images[[0, 2, 2, 1]])
    lines = []
    for utterance, said in SAID.items():
        words = [
            {"token_id": 1, "token": f"{word}</w>", "top": [1], "score": 0.9}
            for word in NAMED[utterance].split()
        ]
        line = {"utt": utterance, "caption": said, "caption_ids": [1], "keywords": words}
        lines.append(json.dumps(line))
    (folder / "keywords.jsonl").write_text("\n".join(lines) + "\n")
    for name, image in zip("abc", images, strict=True):
        np.save(tmp_path / f"{name}.npy", image)
    write_scp(tmp_path / "images.scp", {name: str(tmp_path / f"{name}.npy") for name in "abc"})
    main([str(folder), str(tmp_path / "images.scp"), "0.5"])
    # of both, u1 is right; the others are between two images, and the first one counts
    assert json.loads(capsys.readouterr().out) == {
        "image first (utterance) among 2 images": 0.75,
        "image first (keywords) among 2 images": 0.75,
        "image first (both) among 2 images": 1.0,
        "image first (utterance) among 3 images": 0.75,
        "image first (keywords) among 3 images": 0.5,
        "image first (both) among 3 images": 1.0,
        "all words right, a word twice in a row": 0.5,
        "all words right, no word twice in a row": 0.5,
    }
