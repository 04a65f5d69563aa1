"""Bad input is one message; a defect of the code is a traceback."""

from __future__ import annotations

import argparse
import errno
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from espnet_plugin.utils.command import (
    command_errors,
    positive,
    resource_errors,
    seconds,
    share,
    size,
)


@pytest.mark.parametrize("error", [FileNotFoundError, ValueError, ImportError])
def test_bad_input_is_one_message(error: type[Exception]) -> None:
    @command_errors("tool")
    def main() -> None:
        raise error("list.txt: no such file")

    for _ in range(2):  # a command can be called again
        with pytest.raises(SystemExit, match="^tool: error: list.txt: no such file$"):
            main()


def test_defects_keep_their_traceback() -> None:
    with pytest.raises(KeyError), command_errors("tool"):
        raise KeyError("x")


def test_a_data_workers_message_is_freed_of_its_traceback() -> None:
    text = "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent"
    text += " call last):\n  File ...\nespnet_plugin.utils.errors.DataError: a.wav: is empty\n"
    with (
        pytest.raises(SystemExit, match="^tool: error: .*a.wav: is empty$"),
        command_errors("tool"),
    ):
        raise ValueError(text)


def test_several_lines_stay() -> None:
    with pytest.raises(SystemExit, match="(?s)first.*second"), command_errors("tool"):
        raise ValueError("first\nsecond")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "^tool: error: a.npy: the disk is full; free some space and start again"),
        (errno.EROFS, "^tool: error: a.npy: the file system is read-only; "),
        (errno.EACCES, "^tool: error: a.npy: no permission; "),
    ],
)
def test_a_disk_that_takes_nothing(number: int, message: str) -> None:
    with pytest.raises(SystemExit, match=message), command_errors("tool"):
        raise OSError(number, "whatever", "a.npy")


@pytest.mark.parametrize(
    ("kind", "good", "value", "bad"),
    [
        (positive, "3", 3, "0"),
        (seconds, "2min", 120, "soon"),
        (seconds, "1s", 1, "0"),
        (share, "3/8", (3, 8), "9/8"),
        (share, "8/8", (8, 8), "0/8"),
        (size, "10MB", 10 * 2**20, "large"),
        (size, "1", 1, "0"),
    ],
)
def test_an_options_value_with_its_unit(
    kind: Callable[[str], float], good: str, value: float, bad: str
) -> None:
    assert kind(good) == value
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{bad}: "):
        kind(bad)


def test_a_reader_that_has_had_enough_is_no_error() -> None:
    code = """
from espnet_plugin.utils.command import command_errors
with command_errors("tool"):
    print("a\\n" * {lines})
"""
    for lines in (3, 100_000):  # at the end, and in the middle
        command = [sys.executable, "-c", code.format(lines=lines)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait()


def test_a_full_disk_is_one_message_where_other_errors_go_on() -> None:
    with pytest.raises(SystemExit, match="^train: error: a.pth: the disk is full"):
        with resource_errors("train"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.pth")
    with pytest.raises(SystemExit, match="^train: error: the memory is full"):
        with resource_errors("train"):
            raise MemoryError
    with pytest.raises(FileNotFoundError), resource_errors("train"):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a.pth")
