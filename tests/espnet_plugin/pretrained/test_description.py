"""What a model says of itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from espnet_plugin.pretrained.description import describe_model


def test_files_of_a_model_are_named_as_they_lie_in_it(exported: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", exported)
    described = describe_model(archive)
    assert described["speech_encoder"] == "speech_encoder"
    assert described["clip"].startswith("clip/")
    assert described["clip_weights"].startswith("clip/")
    assert (exported / described["clip_weights"]).is_file()
    assert describe_model(exported) == {**described, "model": str(exported)}
