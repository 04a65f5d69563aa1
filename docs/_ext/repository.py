"""Takes files of the repository into the site; links between files become links between pages.

A page in ``docs/repository/``, written when the site is built, includes the file (MyST's
``include``). Links are written as GitHub reads them: relative to the file that holds them. A link
to README.md leads to the site's first page.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
RESULTS = "egs2/speechclip_plus/results"
FILES = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "contributing_to_espnet": "contrib/README.md",
    "espnet3": "egs3/speechclip_plus/README.md",
    "mini_corpora": "egs2/speechclip_plus/local/mini/README.md",
    "recipe": "egs2/speechclip_plus/README.md",
    "results": "egs2/speechclip_plus/RESULTS.md",
    **{
        f"results_{path.stem}": f"{RESULTS}/{path.name}"
        for path in (ROOT / RESULTS).glob("[a-z]*.md")
    },
    "security": "SECURITY.md",
}
SHOWN_AS = {
    **{file: f"docs/repository/{page}.md" for page, file in FILES.items()},
    "README.md": "docs/index.md",
}
_IMAGE = r"!\[[^\]]*\]\([^)]*\)"
_LINK = re.compile(rf"(!?)\[((?:{_IMAGE}|[^\]])*)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def site_links(text: str, file: str, page: str) -> str:
    """Rewrites the links of a file for the page that shows it.

    Args:
        text: Markdown.
        file: Where it stands, relative to the repository.
        page: Name of the page, relative to ``docs/``, without suffix.
    """

    def rewrite(match: re.Match) -> str:
        image, words, target, anchor = match.groups()
        words = _LINK.sub(rewrite, words)  # a link may surround an image
        linked = os.path.normpath(os.path.join(os.path.dirname(file), target))
        shown = SHOWN_AS.get(linked, linked)
        if (ROOT / linked).is_dir() or (shown.endswith(".md") and not shown.startswith("docs/")):
            return words  # the site has no listing of folders, and not every page
        relative = os.path.relpath(shown, os.path.dirname(f"docs/{page}"))
        return f"{image}[{words}]({relative}{anchor or ''})"

    return _LINK.sub(rewrite, text)


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "repository"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.md"):
        if old.stem not in FILES:
            old.unlink()
    for page, file in FILES.items():
        path, text = folder / f"{page}.md", f"```{{include}} ../../{file}\n```\n"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = site_links(source[0], f"docs/{page}.md", page)


def _include(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
    file = os.path.relpath(Path(app.srcdir) / path, ROOT)
    content[0] = site_links(content[0], file, app.env.docname)  # parent lacks its folder


def setup(app: Sphinx) -> dict[str, Any]:
    """Reads pages so."""
    app.connect("builder-inited", _write_pages)
    app.connect("source-read", _read)
    app.connect("include-read", _include)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
