"""The page's examples: drawn by a rule, and copied as they are."""

from __future__ import annotations

from pathlib import Path

from local.digits.examples import draw_examples, write_examples

from espnet_plugin.data.scp import read_scp
from tests.egs2.corpora.conftest import speakers


def test_the_speakers_take_turns_and_no_string_comes_twice() -> None:
    of = speakers()
    drawn = draw_examples(of)
    assert len(drawn) == 4
    assert all(utterance.split("_")[1] == string for string, utterance in drawn.items())
    assert [of[utterance] for utterance in drawn.values()] == ["theo", "yweweler"] * 2
    assert drawn == draw_examples(dict(reversed(of.items())))


def test_recordings_are_copied_with_their_tables(voices: Path, tmp_path: Path) -> None:
    output = tmp_path / "examples"
    write_examples(voices, output)
    drawn = draw_examples(speakers())
    files = read_scp(output / "wav.scp")
    assert list(files) == list(drawn)  # the page shows them in this order
    for string, utterance in drawn.items():
        assert files[string] == f"{output}/{string}.wav"
        assert Path(files[string]).read_text() == utterance
    assert read_scp(output / "text") == {string: f"words of {string}" for string in drawn}
    assert read_scp(output / "utt2image") == {string: f"test_{string}" for string in drawn}
    assert read_scp(output / "image.scp") == {f"test_{s}": f"test_{s}.png" for s in drawn}
