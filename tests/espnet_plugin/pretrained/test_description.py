"""What a model says of itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from espnet_plugin.pretrained.description import describe_model


def test_files_of_a_model_are_named_as_they_lie_in_it(exported: Path) -> None:
    described = describe_model(exported)
    assert described["speech_encoder"] == "hubert, 2 layers of 24 (speech_encoder)"
    assert described["clip"] == "tiny_clip (clip/tiny_clip.json)"
    assert described["clip_weights"].startswith("clip/")
    assert (exported / described["clip_weights"]).is_file()


def test_words_of_a_model_are_whole_words_without_function_words(
    exported: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(exported, model)
    config = yaml.safe_load((model / "config.yaml").read_text())
    # CLIP's dog</w>, the</w>, dog and cat</w>
    config["keyword_vocabulary"] = [1929, 518, 4326, 2368]
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    assert describe_model(model)["words"] == ["dog", "cat"]
