from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from espnet_plugin.data.skipped import Skipped, read_skipped, require_few, write_skipped
from espnet_plugin.utils.errors import DataError


def test_names_that_no_line_of_text_can_hold(tmp_path: Path) -> None:
    assert read_skipped(tmp_path) == []
    write_skipped(tmp_path, [Skipped("a", "one\ttwo\n\udcff.wav", "empty file")])
    assert read_skipped(tmp_path) == [("a", "one two \\udcff.wav", "empty file")]
    (tmp_path / "skipped.tsv").write_text("another file\nof another form\n")
    assert read_skipped(tmp_path) == [("of another form", "", "")]


@pytest.mark.parametrize(
    ("bad", "kept", "max_bad", "stops"),
    [
        (0, 1, 0.0, False),
        (1, 999, 0.0, True),
        (100, 900, 0.1, False),
        (101, 899, 0.1, True),
        (50, 60, 0.1, False),  # few
        (51, 60, 0.1, True),
        (3, 3, 0.1, False),  # half
        (4, 3, 0.1, True),
        (3, 0, 1.0, True),
    ],
)
def test_how_many_are_too_many(
    tmp_path: Path, bad: int, kept: int, max_bad: float, stops: bool
) -> None:
    write_skipped(tmp_path, [Skipped("a", "a.wav", "empty file")] * bad)
    with pytest.raises(DataError, match="a: a.wav: empty file") if stops else nullcontext():
        require_few(tmp_path, kept=kept, max_bad=max_bad)
