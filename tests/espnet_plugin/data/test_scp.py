"""Tables give back what was written, whatever people type."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from espnet_plugin.data.scp import (
    columns,
    file_stem,
    part_of,
    read_lines,
    read_scp,
    text_lines,
    write_lines,
    write_scp,
)
from espnet_plugin.utils.errors import DataError

# what str.splitlines or str.split take for the end of a line or of a word, and Kaldi does not
ODD_SPACES = "\u2028\u2029\x85\v\f\r\x1c\x1d\x1e\xa0\u3000"

letters = st.characters(exclude_categories=["Cs"], exclude_characters="\n")
texts = st.text(letters | st.sampled_from(ODD_SPACES), max_size=12).map(
    lambda text: text.lstrip(" \t").rstrip(" \t\r")
)
ids = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="\ufeff"),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(table=st.dictionaries(ids, texts, max_size=5))
def test_any_text_on_one_line_comes_back(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table"
    assert write_scp(path, table) == len(table)
    assert path.read_bytes().count(b"\n") == len(table)
    assert read_scp(path) == table
    assert list(read_scp(path)) == sorted(table, key=str.encode)


@pytest.mark.parametrize("odd", ODD_SPACES)
def test_odd_white_space_ends_neither_line_nor_column(tmp_path: Path, odd: str) -> None:
    path = tmp_path / "text"
    path.write_bytes(f"a one{odd}b two\nc {odd}three\n".encode())
    assert read_scp(path) == {"a": f"one{odd}b two", "c": f"{odd}three"}
    assert columns(f"a 1{odd}2\t3") == ["a", f"1{odd}2", "3"]
    path.write_bytes(f"a{odd}one\n".encode())  # ESPnet would read the id a
    with pytest.raises(DataError, match=rf"text:1: U\+{ord(odd):04X} after the id"):
        read_scp(path)


def test_what_other_programs_write(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"\xef\xbb\xbfa one\r\n\r\n  b\ttwo  words \n\n \x0c\nc\r\nd \ne 5")
    assert read_scp(path) == {"a": "one", "b": "two  words", "c": "", "d": "", "e": "5"}
    assert [number for number, _ in text_lines(path)] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_id_twice_names_file_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("a one\n\nb two\na three\na one\n")
    with pytest.raises(DataError, match=r"text: 'a' is there more than once"):
        read_scp(path)
    assert [key for key, _ in read_lines(path)] == ["a", "b", "a", "a"]


@given(st.integers(12, 40), st.integers(1, 12))
def test_parts_are_contiguous_and_share_all_entries(entries: int, parts: int) -> None:
    table = {f"u{number:02}": "x" for number in range(entries)}
    found = [list(part_of(table, (part, parts))) for part in range(1, parts + 1)]
    assert [key for part in found for key in part] == list(table)
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert part_of(table, None) == table
    with pytest.raises(DataError, match=f"part 1/50 is empty; .* makes: {entries}"):
        part_of(table, (1, 50))
    assert part_of({}, (1, 2)) == {}


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none is missing; run the stage"):
        read_scp(tmp_path / "none")
    (tmp_path / "latin").write_bytes("a fünf\n".encode("latin-1"))
    with pytest.raises(DataError, match="latin: not UTF-8"):
        read_scp(tmp_path / "latin")
    with pytest.raises(DataError, match="the value of 'a' has several lines"):
        write_lines(tmp_path / "x", [("a", "one\nb two")])
    assert not (tmp_path / "x").exists()


@given(ids=st.sets(st.text(min_size=1, max_size=300), max_size=8))
@example(ids={"a/b", "a_b", "a-b", "../evil", ".", "..", "/etc/passwd", "x" * 300, "é" * 150})
def test_a_file_of_an_id_stays_in_its_folder_and_is_its_own(ids: set[str]) -> None:
    stems = {file_stem(key) for key in ids}
    assert len(stems) == len(ids)
    for stem in stems:
        assert "/" not in stem and "\0" not in stem and not stem.startswith(".")
        assert 0 < len(stem.encode("utf-8", "surrogatepass")) <= 200
