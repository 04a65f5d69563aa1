"""Error messages, options and tables that all commands share."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import logging
import os
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
    """Suggests an option for one that it does not have."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Ends a subcommand at an unknown option; the parent does not know its options."""
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
            # argparse completes the beginning of an option
            if name.startswith("--") and not any(option.startswith(name) for option in options):
                if near := difflib.get_close_matches(name, options, n=1):
                    message += f"\n{name}: did you mean {near[0]}?"
        super().error(message)


@contextlib.contextmanager
def command_errors(name: str) -> Iterator[None]:
    """Logs to stderr; bad input ends the command with one message and exit code 1.

    If the reader of the output is gone (``| head``), the command ends without a message.

    Example:
        >>> @command_errors("show_results")
        ... def main(cmd: Sequence[str] | None = None) -> None: ...

    Args:
        name: The command's name, at the beginning of the message.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # as Python's manual advises: its end flushes the output again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, ValueError, ImportError, MemoryError) as error:
        logging.debug(f"{name} failed", exc_info=True)
        sys.exit(f"{name}: error: {_message(error)}")


@contextlib.contextmanager
def resource_errors(name: str) -> Iterator[None]:
    """Ends a command with one message if a disk is full or read-only, or the memory is full.

    Other errors are raised as they are.

    Args:
        name: The command's name, at the beginning of the message.
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
    """Adds ``--model``, ``--device``, ``--trust_remote_code`` and ``--max_seconds`` to a command.

    Args:
        required: If False, the model of an index is the default.
        hears: Whether the command reads recordings: otherwise there is no ``--max_seconds``.
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
            help="only the beginning of a longer recording is processed (400s); a minute takes "
            "about 1 GB. Keywords end after max_keywords x frames_per_keyword frames of 20 ms",
        )


def add_trained_model_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Adds a checkpoint or another form of a model to a command of the recipe."""
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
        help="you trust the model's author: the model may run code that comes with it",
    )


def positive(text: str) -> int:
    """An option's value: an integer of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def seconds(text: str) -> float:
    """Seconds of an option's value such as 5s or 2min."""
    from humanfriendly import InvalidTimespan, parse_timespan

    try:
        return parse_timespan(text)
    except InvalidTimespan as error:
        raise argparse.ArgumentTypeError(f"{text}: not a time such as 5s") from error


def size(text: str) -> int:
    """Bytes of an option's value such as 10MB, in steps of 1024."""
    from humanfriendly import InvalidSize, parse_size

    try:
        return parse_size(text, binary=True)
    except InvalidSize as error:
        raise argparse.ArgumentTypeError(f"{text}: not a size such as 10MB") from error


def text_table(rows: Sequence[Sequence[object]]) -> str:
    """Rows as lines with aligned columns."""
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
    # a data worker's message is the last line of a traceback
    return text.splitlines()[-1] if "\nOriginal Traceback" in text else text
