#!/usr/bin/env python3
"""Checks that every source has its page in a built site, and that every link leads somewhere.

    check_site.py SITE SOURCES

A page must have its source's heading: Sphinx writes pages of its own over those of the same name.
Files and anchors are checked, and that no page loads anything from another host. Links to other
hosts are only counted.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("source", "src")}
TYPED = str.maketrans("‘’“”", "''\"\"")  # as they are in a source; Sphinx makes them curly
POINTS = {"canonical", "search", "index", "next", "prev"}  # what a page's <link> only names


class Page(HTMLParser):
    """A page's anchors, its links, what it loads, and its first heading of the first level."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loads = {"", "top"}, set(), set()
        self.heading: str | None = None
        self._in_heading = False
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes a tag."""
        given = dict(attrs)
        if tag == "h1" and self.heading is None:
            self.heading, self._in_heading = "", True
        elif given.get("class") == "headerlink":
            self._in_heading = False  # a sign that is not of the text ends each heading
        self.anchors |= {given.get("id") or "", given.get("name") or ""}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        for name, attribute in LOADED:
            if tag == name and given.get(attribute) and given.get("rel") not in POINTS:
                self.loads.add(given[attribute])

    def handle_endtag(self, tag: str) -> None:
        """Notes the end of a tag."""
        if tag == "h1":
            self._in_heading = False

    def handle_data(self, data: str) -> None:
        """Notes text."""
        if self._in_heading:
            self.heading += data.translate(TYPED)


def heading(source: Path) -> str | None:
    """The first heading of a page's source, without marks.

    A source that only points to another file, by its first link, has that file's heading.
    """
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] != "code")
    found = re.search(r"^# +(.*)$", text, re.MULTILINE)
    if found:
        return found[1].replace("`", "").strip()
    pointed = re.search(r"\]\(([^)\s]+\.md)\)", text)
    return heading(source.parent / pointed[1]) if pointed else None


def wrong_pages(pages: dict[Path, Page], site: Path, sources: Path) -> Iterator[str]:
    """Sources that have no page, or another's."""
    for source in sorted([*sources.rglob("*.md"), *sources.rglob("*.ipynb")]):
        name = source.relative_to(sources).with_suffix(".html")
        if "_build" in name.parts:
            continue
        page, wanted = pages.get(site / name), heading(source)
        if page is None:
            yield f"{name}: no such page, for {source}"
        elif page.heading != wanted:
            yield f"{name}: headed {page.heading!r}, but {source} is headed {wanted!r}"


def wrong_links(pages: dict[Path, Page], site: Path) -> Iterator[str]:
    """Links that lead nowhere, and what is loaded from elsewhere."""
    for file, page in pages.items():
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            where = f"{file.relative_to(site)}: {link}"
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    yield f"{where}: loaded from elsewhere"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                yield f"{where}: no such file"
            elif parts.fragment and target in pages:
                if unquote(parts.fragment) not in pages[target].anchors:
                    yield f"{where}: no such place"


def problems(site: Path, sources: Path) -> list[str]:
    """What is wrong with a site, a line each.

    Args:
        site: Built pages.
        sources: What they were built from.
    """
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site}: no page"]
    return [*wrong_pages(pages, site, sources), *wrong_links(pages, site)]


if __name__ == "__main__":
    wrong = problems(*(Path(argument).resolve() for argument in sys.argv[1:3]))
    sys.exit("\n".join(wrong) if wrong else 0)
