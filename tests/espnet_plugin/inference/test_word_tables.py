from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.inference.word_tables import check_output, one_tier, write_words
from espnet_plugin.utils.errors import DataError

# the second begins before the first ends, as CIF's segments do
WORDS = [SpokenWord('"a" & <b>', 0.5, 0.1, 0.42), SpokenWord("d\x00g", 0.25, 0.4, 0.8)]


@pytest.fixture
def recording(tmp_path: Path) -> Callable[[str], str]:
    """Makes a recording of one second."""

    def make(name: str) -> str:
        path = tmp_path / "talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(8000), 8000)
        return str(path)

    return make


def write(output: Path, words: dict[str, list[SpokenWord]]) -> dict[str, int]:
    return write_words(output, ((file, file, found) for file, found in words.items()), [*words])


def intervals(path: Path) -> list[tuple[float, float, str]]:
    """Start, end and text of each interval of a TextGrid."""
    found = re.findall(
        r"intervals \[\d+\]:\n *xmin = (\S+)\n *xmax = (\S+)\n *text = \"(.*)\"\n", path.read_text()
    )
    return [(float(start), float(end), text) for start, end, text in found]


def stretches(path: Path) -> list[tuple[int, int, str]]:
    """Start, end and text of each annotation of an .eaf."""
    root = ElementTree.parse(path).getroot()
    times = {s.get("TIME_SLOT_ID"): int(s.get("TIME_VALUE")) for s in root.iter("TIME_SLOT")}
    return [
        (
            times[found.get("TIME_SLOT_REF1")],
            times[found.get("TIME_SLOT_REF2")],
            found.findtext("ANNOTATION_VALUE"),
        )
        for found in root.iter("ALIGNABLE_ANNOTATION")
    ]


def test_a_table(recording, tmp_path: Path) -> None:
    one, two = recording("one.wav"), recording("two.wav")
    found = {one: WORDS, two: [SpokenWord("cat", 1.0, None, None)]}
    assert write(tmp_path / "new" / "words.tsv", found) == {"recordings": 2, "words": 3}
    assert (tmp_path / "new" / "words.tsv").read_text() == (
        "recording\tword\tstart\tend\tscore\n"
        f'{one}\t"""a"" & <b>"\t0.1\t0.42\t0.500\n'
        f"{one}\td\ufffdg\t0.4\t0.8\t0.250\n"
        f"{two}\tcat\t\t\t1.000\n"
    )


def test_a_textgrid_and_an_eaf_of_each_recording(recording, tmp_path: Path) -> None:
    one, two = recording("day 1/täg.wav"), recording("day 2/täg.wav")
    out = tmp_path / "words"
    write(out, {one: WORDS, two: []})
    grid = out / "day 1" / "täg.TextGrid"
    assert intervals(grid) == [
        (0, 0.1, ""),
        (0.1, 0.4, '""a"" & <b>'),
        (0.4, 0.8, "d\ufffdg"),
        (0.8, 1, ""),
    ]
    assert grid.read_text().splitlines()[:8] == [
        'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", "xmax = 1.0",
        "tiers? <exists>", "size = 1", "item []:",
    ]  # fmt: skip
    assert "intervals: size = 4" in grid.read_text()
    assert intervals(out / "day 2" / "täg.TextGrid") == [(0, 1, "")]
    document = out / "day 1" / "täg.eaf"
    assert stretches(document) == [(100, 400, '"a" & <b>'), (400, 800, "d\ufffdg")]
    media = ElementTree.parse(document).find("HEADER/MEDIA_DESCRIPTOR")
    assert unquote(media.get("MEDIA_URL")) == f"file://{one}"
    assert media.get("MIME_TYPE") == "audio/x-wav"
    assert stretches(out / "day 2" / "täg.eaf") == []
    assert len((out / "words.tsv").read_text().splitlines()) == 3


def test_words_with_a_pause_between_keep_it() -> None:
    words = [SpokenWord("a", 1.0, 0.1, 0.2), SpokenWord("b", 1.0, 0.5, 0.6)]
    assert one_tier(words) == words


def test_recordings_of_one_name_keep_their_endings(recording, tmp_path: Path) -> None:
    files = [recording("a.b.wav"), recording("a.b.flac"), recording("c.wav")]
    write(tmp_path / "words", dict.fromkeys(files, WORDS))
    found = sorted(path.name for path in (tmp_path / "words").glob("*.eaf"))
    assert found == ["a.b.flac.eaf", "a.b.wav.eaf", "c.eaf"]


def test_a_word_may_end_after_the_recording(recording, tmp_path: Path) -> None:
    write(tmp_path / "words", {recording("a.wav"): [SpokenWord("a", 1, 0.9, 1.02)]})
    grid = (tmp_path / "words" / "a.TextGrid").read_text()
    assert grid.count("xmax = 1.02\n") == 3


def test_finished_recordings_are_kept(recording, tmp_path: Path) -> None:
    one = recording("one.wav")

    def heard() -> Iterator[tuple[str, str, list[SpokenWord]]]:
        yield one, one, WORDS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_words(tmp_path / "words", heard(), [one, recording("two.wav")])
    assert len((tmp_path / "words" / "words.tsv").read_text().splitlines()) == 3
    assert len(stretches(tmp_path / "words" / "one.eaf")) == 2


def test_words_without_times_have_no_place(recording, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="cls.* have no times, so no place can be shown; write a table"
    ):
        write(tmp_path / "words", {recording("a.wav"): [SpokenWord("cat", 1.0, None, None)]})


def test_nothing_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "words.tsv").write_text("corrected\n")
    for there in (tmp_path, tmp_path / "words.tsv"):
        with pytest.raises(DataError, match="is there already, perhaps with somebody's correct"):
            check_output(there)
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty")
    with pytest.raises(DataError, match="words.eaf: give a table that ends in .tsv; or a folder"):
        check_output(tmp_path / "words.eaf")
