"""Files read side by side give what tables in memory would."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.scp import DataError, read_lines, write_lines, write_scp
from espnet_plugin.data.sorted_tables import (
    groups,
    in_order,
    is_sorted,
    read_sorted,
    side_by_side,
    sort_file,
)

ids = st.text(alphabet="aäB1_-", min_size=1, max_size=3)
tables = st.dictionaries(ids, st.sampled_from(["", "x", "two words"]), max_size=6)


@settings(deadline=None, max_examples=30)
@given(content=st.lists(tables, min_size=1, max_size=3))
def test_side_by_side(tmp_path_factory: pytest.TempPathFactory, content: list[dict]) -> None:
    directory = tmp_path_factory.mktemp("tables")
    paths = [directory / str(n) for n in range(len(content))]
    for path, table in zip(paths, content, strict=True):
        write_scp(path, table)
    expected = {
        key: [table.get(key) for table in content]
        for key in sorted(set().union(*content), key=str.encode)
    }
    assert list(side_by_side(paths)) == list(expected.items())


@settings(deadline=None, max_examples=30)
@given(lines=st.lists(st.tuples(ids, st.sampled_from("xyz")), max_size=8))
def test_sorting_keeps_equal_ids_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("lines") / "file"
    write_lines(path, lines)
    expected = sorted(lines, key=lambda line: line[0].encode())
    with in_order(path) as ordered:
        assert (ordered == path) == is_sorted(path) == (lines == expected)
        assert list(read_lines(ordered)) == expected
    assert list(read_lines(path)) == lines  # as it was
    sort_file(path)
    assert list(read_lines(path)) == expected
    assert [(k, v) for k, values in groups(path) for v in values] == expected


def test_an_id_twice_is_an_error(tmp_path: Path) -> None:
    write_lines(tmp_path / "x", [("a", "1"), ("a", "2")])
    with pytest.raises(DataError, match="'a' stands there twice, in lines 1, 2"):
        list(read_sorted(tmp_path / "x"))


def test_an_id_twice_is_named_with_its_lines_in_the_unsorted_file(tmp_path: Path) -> None:
    write_lines(tmp_path / "x", [("b", "1"), ("a", "2"), ("b", "3")])
    write_lines(tmp_path / "y", [("c", "1"), ("a", "2")])
    with (
        pytest.raises(DataError) as caught,
        in_order(tmp_path / "x") as x,
        in_order(tmp_path / "y") as y,
    ):
        list(side_by_side([x, y]))
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: 'b' stands there twice, in lines 1, 3")
