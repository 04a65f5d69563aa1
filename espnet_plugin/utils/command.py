"""The frame that all commands have."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import logging
import os
import select
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

_FULL = "the disk is full; free some space and start again, what is finished is kept"
_DISK = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL.replace("disk", "quota"),
    errno.EROFS: "the file system is read-only; mount it for writing, or choose another folder",
    errno.EACCES: "no permission; choose another folder, or ask its owner",
}
LOG_FORMAT = "%(asctime)s %(levelname)s: %(message)s"


class CommandParser(argparse.ArgumentParser):
    """Says which of its options may have been meant by one that it does not have."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Ends a subcommand at an option that it does not have: only it knows the others."""
        self._given = sys.argv[1:] if args is None else args
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Ends with exit code 2."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        for word in self._given:
            name = word.split("=")[0]
            # argparse completes what an option begins with
            if name.startswith("--") and not any(option.startswith(name) for option in options):
                if near := difflib.get_close_matches(name, options, n=1):
                    message += f"\n{name}: did you mean {near[0]}?"
        super().error(message)


@contextlib.contextmanager
def command_errors(name: str) -> Iterator[None]:
    """Logs to stderr; bad input ends the command with one message and exit code 1.

    When whoever reads the output has had enough (``| head``), it ends without a message.

    Example:
        >>> @command_errors("show_results")
        ... def main(cmd: Sequence[str] | None = None) -> None: ...

    Args:
        name: Of the command, which the message begins with.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        yield
        sys.stdout.flush()
    except (OSError, ValueError, ImportError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            sys.exit(1)
        logging.debug(f"{name} failed", exc_info=True)
        sys.exit(f"{name}: error: {_message(error)}")


def _reader_is_gone() -> bool:
    output = sys.stdout.fileno()
    waiting = select.poll()
    waiting.register(output, 0)  # errors are told of in any case
    if not waiting.poll(0):
        return False
    # so that Python does not complain when it flushes at its end
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


@contextlib.contextmanager
def resource_errors(name: str) -> Iterator[None]:
    """Ends a command whose disk is full or read-only, or whose memory is full, with one message;
    other errors go on.

    Args:
        name: Of the command, which the message begins with.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno not in _DISK:
            raise
        sys.exit(f"{name}: error: {_message(error)}")


def add_model_arguments(
    parser: argparse._ActionsContainer, *, required: bool = True, hears: bool = True
) -> None:
    """Adds ``--model``, ``--device``, ``--trust_remote_code`` and ``--max_seconds`` to a command
    that people call.

    Args:
        required: Or else it is the model of an index.
        hears: Whether the command hears recordings: otherwise there is no ``--max_seconds``.
    """
    parser.add_argument(
        "--model",
        required=required,
        help="experiment, checkpoint, packed or exported model, or a name"
        + ("" if required else " (default: the index's)"),
    )
    parser.add_argument("--device", help="torch device (default: a GPU where there is one)")
    add_trust_argument(parser)
    if hears:
        parser.add_argument(
            "--max_seconds",
            type=seconds,
            metavar="TIME",
            help="of a longer recording the beginning is heard (400s); a minute takes about 1 GB. "
            "Keywords end earlier, after about max_keywords x frames_per_keyword frames of 20 ms",
        )


def add_trained_model_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds a checkpoint, or whatever else holds a model, to a command of the recipe."""
    group = parser.add_argument_group("model")
    model = group.add_mutually_exclusive_group(required=required)
    model.add_argument("--speechclip_model_file", help="checkpoint of an experiment")
    model.add_argument("--model_tag", help="packed or exported model, or a name")
    group.add_argument("--speechclip_train_config", help="config.yaml [beside the checkpoint]")
    add_trust_argument(group)


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a CLIP, or the model whose CLIP it is, to a command of the recipe."""
    group = parser.add_argument_group("CLIP")
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument("--clip_model", help="open_clip name or JSON file")
    source.add_argument("--model_tag", help="a SpeechCLIP model on this disk, whose CLIP is taken")
    group.add_argument("--clip_pretrained", help="open_clip tag or file")
    group.add_argument("--cache_dir", help="where downloaded weights are")
    add_trust_argument(group)


def add_trust_argument(parser: argparse._ActionsContainer) -> None:
    """Adds ``--trust_remote_code`` to a command that loads a model."""
    parser.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="whoever made the model is trusted: what it names may run code that comes with it",
    )


def positive(text: str) -> int:
    """An option's value that counts something."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def seconds(text: str) -> float:
    """An option's value in units of time, such as 5s or 2min."""
    from humanfriendly import InvalidTimespan, parse_timespan

    try:
        return parse_timespan(text)
    except InvalidTimespan as error:
        raise argparse.ArgumentTypeError(f"{text}: no time such as 5s") from error


def size(text: str) -> int:
    """Bytes of an option's value such as 10MB, in steps of 1024."""
    from humanfriendly import InvalidSize, parse_size

    try:
        return parse_size(text, binary=True)
    except InvalidSize as error:
        raise argparse.ArgumentTypeError(f"{text}: no size such as 10MB") from error


def text_table(rows: Sequence[Sequence[object]]) -> str:
    """Rows as lines, each column as wide as its widest cell."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""
        return where + _DISK[error.errno]
    text = str(error).strip() or "the memory is full"
    # from a data worker the message comes as the last line of a traceback
    return text.splitlines()[-1] if "\nOriginal Traceback" in text else text
