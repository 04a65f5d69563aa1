"""A model's fingerprint is that of what its embeddings come from, whatever holds it."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from espnet_plugin.pretrained.description import model_fingerprint
from espnet_plugin.pretrained.storage_format import TRAINED_FILE


def test_the_fingerprint_is_of_the_weights(exported: Path, tmp_path: Path) -> None:
    expected = model_fingerprint(exported)
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", exported)
    assert model_fingerprint(archive) == expected

    for file in (
        TRAINED_FILE,
        next((exported / "clip").glob("*.safetensors")).relative_to(exported),
    ):
        changed = tmp_path / "changed" / Path(file).name
        shutil.copytree(exported, changed)
        weights = load_file(changed / file)
        name = next(name for name in weights if name.endswith("bias"))
        save_file({**weights, name: weights[name] + 1}, changed / file)
        assert model_fingerprint(changed) != expected
