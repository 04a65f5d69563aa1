"""Fill in templates."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def templates_in(directory: Path) -> Environment:
    """The templates of a directory; a name that one lacks is an error.

    Values in ``.html.jinja`` and ``.eaf.jinja`` are escaped.
    """
    return Environment(
        loader=FileSystemLoader(directory),
        autoescape=select_autoescape(["html.jinja", "eaf.jinja"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
