"""The page's examples: drawn by a rule, and copied as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from local.digits.examples import draw_examples, main

from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.utils.errors import DataError

STRINGS = [f"{number:03d}" for number in range(0, 1000, 100)]


def speakers() -> dict[str, str]:
    """Each string in five utterances; theo alone says the first half of them."""
    both = {f"strangers_{s}_{n}": ("theo", "yweweler")[n % 2] for s in STRINGS for n in range(5)}
    return {u: "theo" if u.split("_")[1] < "500" else speaker for u, speaker in both.items()}


def test_the_speakers_take_turns_and_no_string_comes_twice() -> None:
    of = speakers()
    drawn = draw_examples(of)
    assert len(drawn) == 4
    assert all(utterance.split("_")[1] == string for string, utterance in drawn.items())
    assert [of[utterance] for utterance in drawn.values()] == ["theo", "yweweler"] * 2
    assert drawn == draw_examples(dict(reversed(of.items())))
    one, two = (u for u in of if u.startswith("strangers_500_") and of[u] == "yweweler")
    with pytest.raises(DataError, match="theo, yweweler say 0 of 4 strings"):
        draw_examples({one: "yweweler", two: "yweweler"})


def test_recordings_are_copied_and_those_of_before_go(tmp_path: Path) -> None:
    data, output, of = tmp_path / "data", tmp_path / "examples", speakers()
    data.mkdir()
    output.mkdir()
    for utterance in of:
        (data / f"{utterance}.wav").write_bytes(utterance.encode())
    for name in ("999.wav", "own.wav"):
        (output / name).touch()
    image_of = {utterance: f"test_{utterance.split('_')[1]}" for utterance in of}
    write_scp(data / "wav.scp", {u: data / f"{u}.wav" for u in of})
    write_scp(data / "utt2spk", of)
    write_scp(data / "text", {u: f"words of {u.split('_')[1]}" for u in of})
    write_scp(data / "utt2image", image_of)
    write_scp(data / "image.scp", {image: f"{image}.png" for image in image_of.values()})
    main(["--data_dir", str(data), "--output", str(output)])
    drawn = draw_examples(of)
    files = read_scp(output / "wav.scp")
    assert list(files) == list(drawn)  # the page shows them in this order
    for string, utterance in drawn.items():
        assert files[string] == f"{output}/{string}.wav"
        assert Path(files[string]).read_text() == utterance
    assert read_scp(output / "text") == {string: f"words of {string}" for string in drawn}
    assert read_scp(output / "utt2image") == {string: f"test_{string}" for string in drawn}
    assert read_scp(output / "image.scp") == {f"test_{s}": f"test_{s}.png" for s in drawn}
    assert {path.name for path in output.glob("*.wav")} == {*(f"{s}.wav" for s in drawn), "own.wav"}
