from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.measure import peak_memory, print_table, spread
from tests.usage import usage_of

MIB = 2**20


def test_a_process_does_not_begin_with_the_peak_of_the_one_that_started_it() -> None:
    assert b"x" * (300 * MIB)
    assert peak_memory() > 300 * MIB
    assert usage_of([sys.executable, "-c", "pass"]).peak < 100 * MIB
    large = usage_of([sys.executable, "-c", f"b'x' * {200 * MIB}"])
    assert large.peak > 200 * MIB
    assert large.cpu_seconds > 0


def test_a_failed_command_is_an_error() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        usage_of([sys.executable, "-c", "raise SystemExit(3)"])


def test_seconds_have_three_digits_and_their_spread() -> None:
    assert spread([0.012, 0.0123, 0.0131]) == "12.3 ms (12–13.1)"
    assert spread([82.17]) == "82.2 s"


def test_a_table_names_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("", "a search"), [("exact", "1 s")])
    where, *lines = capsys.readouterr().out.strip().splitlines()
    assert "PyTorch" in where and " cores" in where
    assert lines == ["", "|  | a search |", "| --- | --- |", "| exact | 1 s |"]
