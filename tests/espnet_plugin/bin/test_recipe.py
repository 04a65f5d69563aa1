"""What the recipe's scripts ask beside their stages."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from espnet_plugin.bin.recipe import main


def test_a_value_of_a_yaml_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: {b: 1.5}\nc: null\nd:\n-   - valid\n    - loss\n")

    def value(*arguments: str) -> str:
        main(["value", str(path), *arguments])
        return capsys.readouterr().out.strip()

    assert [value("a.b"), value("c", "d"), value("a.x.y")] == ["1.5", "d", ""]
    assert [value("d.0.1"), value("d.1.0", "x"), value("a.0")] == ["loss", "x", ""]
    path.write_text("a: [")
    with pytest.raises(SystemExit, match=r"^recipe value: error: .*x\.yaml: cannot be read"):
        value("a")


def test_the_configuration_of_a_packed_model(tmp_path: Path) -> None:
    packed, copy = tmp_path / "model.zip", tmp_path / "config.yaml"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("model/config.yaml", "seed: 3\n")
        archive.writestr("model/teacher/config.yaml", "seed: 4\n")
    main(["packed_config", str(packed), str(copy)])
    assert copy.read_text() == "seed: 3\n"
    packed.write_bytes(packed.read_bytes()[:50])
    with pytest.raises(SystemExit, match=r"model\.zip: damaged, or not a model"):
        main(["packed_config", str(packed), str(copy)])


CONFIG = """
speech_encoder: huggingface
clip_conf: {model: absent.json, pretrained: random}
model_conf: {naming_weight: 1.0}
"""


def test_a_training_is_refused_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(CONFIG)

    def refused(*options: str, flags: Sequence[str] = ()) -> str:
        with pytest.raises(SystemExit, match="^recipe training: error: ") as ended:
            main(["training", *flags, "--", "--config", str(path), *options])
        return str(ended.value)

    main(["training", "--", "--config", str(path)])
    assert refused("--batch_sise", "3").endswith("--batch_sise: did you mean --batch_size?")
    said = refused(flags=["--no_captions"])
    assert "has no captions: add --vocab_text FILE" in said
    main(["training", "--no_captions", "--", "--config", str(path), "--keyword_extractor", "none"])
    own = ("--attention", "torch.nn:Identity")
    assert "the attention 'torch.nn:Identity', which may run code: stage 8" in refused(*own)
    main(["training", "--trust_remote_code", "--", "--config", str(path), *own])
    s3prl = ("--speech_encoder", "s3prl", "--speech_encoder_conf", "{model: mine}")
    main(["training", "--", "--config", str(path), *s3prl])  # named by the call itself
    assert "without --trust_remote_code true" in refused(*s3prl, *own)
