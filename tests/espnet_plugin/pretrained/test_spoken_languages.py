"""What a model was trained to hear: a list in config.yaml, and what its users are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import yaml

from espnet_plugin import SpeechCLIP
from espnet_plugin.bin.speechclip import main
from espnet_plugin.data.english import translation_note
from tests.sounds import murmur

Teach = Callable[[object], Path]


@pytest.fixture
def teach(exported: Path, tmp_path: Path) -> Teach:
    """Makes a model whose configuration names these languages."""

    def copy(languages: object) -> Path:
        directory = shutil.copytree(exported, tmp_path / "foreign")
        config = yaml.safe_load((directory / "config.yaml").read_text())
        config["spoken_languages"] = languages
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
        return directory

    return copy


@pytest.mark.parametrize(
    ("languages", "foreign"),
    [
        ((), False),
        (("en",), False),
        (("eng", "en-GB", "English"), False),
        (("sw",), True),
        (("en", "es"), True),
        (("enm",), True),  # Middle English has a code of its own
    ],
)
def test_only_foreign_speech_has_translations(languages: tuple[str, ...], foreign: bool) -> None:
    note = translation_note(languages)
    assert (note is not None) == foreign
    assert note is None or f"speech in {', '.join(languages)}." in note


def test_a_model_keeps_its_languages_through_every_form(
    teach: Teach, exported: Path, tmp_path: Path
) -> None:
    foreign = teach(["sw", "no"])  # YAML takes a bare no for false
    model = SpeechCLIP.from_pretrained(foreign, device="cpu")
    assert model.spoken_languages == ("sw", "no")
    model.save_pretrained(tmp_path / "saved")
    assert "| speech in | sw, no |" in (tmp_path / "saved" / "README.md").read_text()
    saved = SpeechCLIP.from_pretrained(tmp_path / "saved", device="cpu")
    assert saved.spoken_languages == ("sw", "no")
    assert SpeechCLIP.from_pretrained(exported, device="cpu").spoken_languages == ()


def test_keywords_say_that_they_are_translations(
    teach: Teach, exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wav, foreign = str(tmp_path / "a.wav"), str(teach(["sw"]))
    soundfile.write(wav, murmur(16000), 16000)
    printed = {}
    for model in (foreign, str(exported)):
        main(["keywords", wav, "--model", model])
        printed[model] = capsys.readouterr().out
    assert printed[foreign] == f"{printed[str(exported)]}\n{translation_note(['sw'])}\n"
    main(["keywords", wav, "--model", foreign, "--json"])
    json.loads(capsys.readouterr().out)  # nothing else is printed
    main(["info", foreign])
    assert "spoken languages  sw\n" in capsys.readouterr().out


@pytest.mark.parametrize("languages", ["sw", [1, "\x1b[2J"], {"sw": 1}])
def test_languages_that_are_none(teach: Teach, languages: object) -> None:
    with pytest.raises(ValueError, match=r"config.yaml: spoken_languages is .*expected a list"):
        SpeechCLIP.from_pretrained(teach(languages), device="cpu")
