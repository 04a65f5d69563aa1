#!/usr/bin/env python3
"""Checks that every link inside a built site leads somewhere.

    check_site.py DIRECTORY

Files and anchors are checked, and that no page loads anything from another host. Links to other
hosts are only counted.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("source", "src")}
POINTS = {"canonical", "search", "index", "next", "prev"}  # what a page's <link> only names


class Page(HTMLParser):
    """A page's anchors, its links, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loads = {"", "top"}, set(), set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes a tag."""
        given = dict(attrs)
        self.anchors |= {given.get("id") or "", given.get("name") or ""}
        if tag == "a" and given.get("href"):
            self.links.add(given["href"])
        for name, attribute in LOADED:
            if tag == name and given.get(attribute) and given.get("rel") not in POINTS:
                self.loads.add(given[attribute])


def problems(site: Path) -> list[str]:
    """What is wrong with a site, a line each."""
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: no page"]
    for file, page in pages.items():
        for link in sorted(page.links | page.loads):
            parts = urlsplit(link)
            where = f"{file.relative_to(site)}: {link}"
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{where}: loaded from elsewhere")
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not target.is_file():
                found.append(f"{where}: no such file")
            elif parts.fragment and target in pages:
                if unquote(parts.fragment) not in pages[target].anchors:
                    found.append(f"{where}: no such place")
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]).resolve())
    sys.exit("\n".join(wrong) if wrong else 0)
