"""Takes files of the repository into the site; links between files become links between pages.

A page of ``docs/`` whose first line is ``See [FILE](../FILE).`` is a pointer: the site shows that
file, and then what follows the line. Links are written as GitHub reads them: relative to the file
that holds them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
_POINTER = re.compile(r"See \[([^\]]+)\]\(\.\./\1\)\.\n")
PAGES = {
    path.stem: found[1]
    for path in sorted((ROOT / "docs").glob("*.md"))
    if (found := _POINTER.match(path.read_text(encoding="utf-8")))
}
SHOWN_AS = {
    **{file: f"docs/{page}.md" for page, file in PAGES.items()},
    "README.md": "docs/index.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def site_links(text: str, file: str, page: str) -> str:
    """Rewrites the links of a file for the page that shows it.

    Args:
        text: Markdown.
        file: Where it stands, relative to the repository.
        page: Name of the page, relative to ``docs/``, without suffix.
    """

    def rewrite(match: re.Match) -> str:
        image, words, target, anchor = match.groups()
        linked = os.path.normpath(os.path.join(os.path.dirname(file), target))
        shown = SHOWN_AS.get(linked, linked)
        if (ROOT / linked).is_dir() or (shown.endswith(".md") and not shown.startswith("docs/")):
            return words  # the site has no listing of folders, and not every page
        relative = os.path.relpath(shown, os.path.dirname(f"docs/{page}"))
        return f"{image}[{words}]({relative}{anchor or ''})"

    return _LINK.sub(rewrite, text)


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    file = PAGES.get(page, f"docs/{page}.md")
    if page in PAGES:
        app.env.note_dependency(str(ROOT / file))
        _, _, rest = source[0].partition("\n")
        source[0] = (ROOT / file).read_text(encoding="utf-8") + rest
    if (ROOT / file).is_file():
        source[0] = site_links(source[0], file, page)


def setup(app: Sphinx) -> dict[str, Any]:
    """Reads pages so."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
