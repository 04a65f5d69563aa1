from __future__ import annotations

import pytest

from benchmarks.measure import peak_memory, print_table, spread

MIB = 2**20


def test_the_peak_is_that_of_this_process() -> None:
    assert b"x" * (300 * MIB)
    assert peak_memory() > 300 * MIB


def test_seconds_have_three_digits_and_their_spread() -> None:
    assert spread([0.012, 0.0123, 0.0131]) == "12.3 ms (12–13.1)"
    assert spread([82.17]) == "82.2 s"


def test_a_table_names_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("", "a search"), [("exact", "1 s")])
    where, *lines = capsys.readouterr().out.strip().splitlines()
    assert "PyTorch" in where and " cores" in where
    assert lines == ["", "|  | a search |", "| --- | --- |", "| exact | 1 s |"]
