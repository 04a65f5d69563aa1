"""The model that the repository holds: what is left out of it, and what is not."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from local.digits.publish import SUBWORDS, main
from safetensors.torch import load, save

from espnet_plugin.evaluation.token_texts import clip_tokenizer


def test_weights_are_halved_and_other_words_left_out(tmp_path: Path) -> None:
    table = torch.arange(1.0, 49409.0)[:, None] / 49408
    weights = {SUBWORDS: table, "scale": torch.tensor(0.1), "positions": torch.arange(3)}
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        packed.writestr("config.yaml", "clip: null\n")
        packed.writestr("clip/clip.safetensors", save(weights))
    outputs = [tmp_path / "a.zip", tmp_path / "b.zip"]
    for output in outputs:
        main([str(tmp_path / "packed.zip"), str(output)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    with zipfile.ZipFile(outputs[0]) as published:
        assert published.read("config.yaml") == b"clip: null\n"
        found = load(published.read("clip/clip.safetensors"))
    assert found["scale"] == torch.tensor(0.1).half()
    assert torch.equal(found["positions"], torch.arange(3))
    eight, dog = (clip_tokenizer().encode(word)[0] for word in ("eight", "dog"))
    rows = found[SUBWORDS][:, 0]
    assert rows[eight] == table[eight, 0].half() and rows[dog] == 0
    assert rows.count_nonzero() == 12  # the digits, and what begins and ends a text
