"""Error messages, options and tables that all commands share."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from espnet_plugin.utils.options import nearest

_FULL = "the disk is full; free some space and start again, what is finished is kept"
_DISK = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL.replace("disk", "quota"),
    errno.EROFS: "the file system is read-only; mount it for writing, or choose another folder",
    errno.EACCES: "no permission; choose another folder, or ask its owner",
}
LOG_FORMAT = "%(asctime)s %(levelname)s: %(message)s"


class CommandParser(argparse.ArgumentParser):
    """Suggests an option or a command for one that it does not have."""

    _given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Ends a subcommand at an unknown option; the parent does not know its options."""
        self._given = sys.argv[1:] if args is None else args
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Ends the command with exit code 2."""
        super().error("\n".join([message, *self.meant()]))

    def meant(self) -> Iterator[str]:
        """What may have been meant by the options and the command that there are not."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        actions = self._subparsers._group_actions if self._subparsers else ()
        commands = [name for action in actions for name in action.choices or ()]
        for word in self._given:
            name = word.split("=")[0]
            known = options if name.startswith("--") else commands
            # argparse completes the beginning of an option, of a command only the whole counts
            if not any(k.startswith(name) and (known is options or k == name) for k in known):
                for near in nearest(name, known):
                    yield f"{name}: did you mean {near}?"
            if known is commands and commands:
                return  # what follows belongs to the command


@contextlib.contextmanager
def command_errors(name: str) -> Iterator[None]:
    """Logs to stderr; bad input ends the command with one message and exit code 1.

    When the output is no longer read (``| head``), the command ends without a message.

    Example:
        >>> @command_errors("score")
        ... def main(cmd: Sequence[str] | None = None) -> None: ...

    Args:
        name: The command's name, at the beginning of the message.
    """
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
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
    """Ends a command whose disk is full or read-only, or whose memory is full, with one message;
    other errors are raised.

    Args:
        name: The command's name, at the beginning of the message.
    """
    try:
        yield
    except (OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno not in _DISK:
            raise
        sys.exit(f"{name}: error: {_message(error)}")


def require_packages(packages: Mapping[str, str], *, extra: str) -> None:
    """Looks for packages before the work begins that needs them.

    Args:
        packages: Name for ``pip install`` of each package, by its name for ``import``.
        extra: Name of the extra that has them.

    Raises:
        ImportError: If one is missing; the message says how to install them.
    """
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        raise ImportError(
            f"{', '.join(missing)} missing: pip install {' '.join(packages.values())} "
            f"(extra: {extra})"
        )


def add_model_arguments(
    parser: argparse._ActionsContainer, *names: str, required: bool = True, default: str = ""
) -> argparse._ArgumentGroup:
    """Adds the group of options that name a model, and returns it for the command's own options.

    Args:
        parser: Parser of the command.
        *names: Names of the model's option, ``--model`` or ESPnet's; its value is ``model``.
        required: Whether the user must name a model.
        default: What the help says is used if the user names none.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        *names,
        dest="model",
        metavar="MODEL",
        required=required,
        help="experiment, checkpoint, packed or exported model, or a name"
        + (f" (default: {default})" if default else ""),
    )
    group.add_argument(
        "--trust_remote_code",
        action="store_true",
        help="you trust the maker of the model: what it names may run code that comes with it",
    )
    return group


def add_clip_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds a CLIP, or the model that has it, to a command of the recipe."""
    group = add_model_arguments(parser, "--model_tag", required=False)
    group.add_argument("--clip_model", help="instead: open_clip name or JSON file of a CLIP")
    group.add_argument("--clip_pretrained", help="its open_clip tag or file")


def positive(text: str) -> int:
    """An option's value: an integer of 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return number


def share(text: str) -> tuple[int, int]:
    """An option's value such as 3/8: a number from 1 on, and how many there are."""
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"{text}: not a part such as 1/8, ..., 8/8")
    return int(number), int(of)


def add_part(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds the part of the work that a job does to a command of the recipe."""
    parser.add_argument("--part", type=share, metavar="I/N", help="part I of N only [all]")


def seconds(text: str) -> float:
    """Seconds of an option's value such as 5s or 2min, more than 0."""
    from humanfriendly import InvalidTimespan, parse_timespan

    try:
        if (found := parse_timespan(text)) > 0:
            return found
    except InvalidTimespan as error:
        raise argparse.ArgumentTypeError(f"{text}: not a time such as 5s") from error
    raise argparse.ArgumentTypeError(f"{text}: must be more than 0")


def size(text: str) -> int:
    """Bytes of an option's value such as 10MB, in steps of 1024, more than 0."""
    from humanfriendly import InvalidSize, parse_size

    try:
        if (found := parse_size(text, binary=True)) > 0:
            return found
    except InvalidSize as error:
        raise argparse.ArgumentTypeError(f"{text}: not a size such as 10MB") from error
    raise argparse.ArgumentTypeError(f"{text}: must be more than 0")


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
    full = isinstance(error, MemoryError)
    text = str(error).strip() or ("the memory is full" if full else type(error).__name__)
    # a data worker's message is the last line of a traceback
    return text.splitlines()[-1] if "\nOriginal Traceback" in text else text
