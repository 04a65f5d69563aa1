"""An inference directory small enough to score by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

A, RED, DOG, RUN, S, CAT = 320, 736, 1929, 1639, 338, 2368  # CLIP's ids
TOKENS = {A: "a</w>", RED: "red</w>", DOG: "dog</w>", RUN: "run", S: "s</w>", CAT: "cat</w>"}


def write_set(directory: Path, *, seed: int = 0, noise: float = 1.0) -> Path:
    """Writes 6 images with 2 captions each, dimension 8."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    images = [f"i{number}" for number in range(6)]
    utterances = [f"{image}_{n}" for image in images for n in range(2)]
    pictures = rng.standard_normal((6, 8))

    def save(name: str, values: np.ndarray) -> None:
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        np.save(directory / f"{name}.npy", unit.astype(np.float32))

    save("image", pictures)
    for name in ("speech_parallel", "speech_cascaded", "text"):
        save(name, np.repeat(pictures, 2, axis=0) + noise * rng.standard_normal((12, 8)))
    (directory / "utterances.txt").write_text("\n".join(utterances) + "\n")
    (directory / "images.txt").write_text("\n".join(images) + "\n")
    (directory / "utt2image").write_text("".join(f"{u} {u[:2]}\n" for u in utterances))
    (directory / "utt2recordings").touch()  # each utterance is a recording of its own
    (directory / "frame_seconds.txt").write_text("0.02\n")
    with (directory / "keywords.jsonl").open("w") as stream:
        for utterance in utterances:
            stream.write(json.dumps(keyword_record(utterance)) + "\n")
    return directory


def keyword_record(utterance: str) -> dict:
    """“a red dog runs”, heard as red, red, cat."""
    tops = ([RED, A], [RED, DOG], [CAT, 49407, DOG])
    return {
        "utt": utterance,
        "caption": "a red dog runs",
        "caption_ids": [A, RED, DOG, RUN, S],
        "seconds": 0.9,
        "keywords": [
            {
                "token_id": top[0],
                "token": TOKENS[top[0]],
                "top": top,
                "start": 0.3 * place,
                "end": 0.3 * (place + 1),
            }
            for place, top in enumerate(tops)
        ],
        "alphas": [0.1] * 45,
        "fired": [14, 29, 44],
    }


@pytest.fixture
def inference_dir(tmp_path: Path) -> Path:
    """An experiment's inference directory with a dev and a test set."""
    directory = tmp_path / "exp" / "speechclip_tiny" / "inference"
    write_set(directory / "dev", seed=1)
    write_set(directory / "test", seed=2)
    return directory
