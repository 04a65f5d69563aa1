from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.check_site import heading, problems


@pytest.fixture
def site(tmp_path: Path) -> tuple[Path, Path]:
    """A site without a fault, and its sources: a page, one that points elsewhere, a notebook."""
    built, sources = tmp_path / "built", tmp_path / "docs"
    for folder in (built, sources):
        folder.mkdir()
    (sources / "index.md").write_text("# All of `x`\n\n[more](guide.md)\n")
    (sources / "guide.md").write_text("The site shows [GUIDE.md](../GUIDE.md) here.\n")
    (tmp_path / "GUIDE.md").write_text("<!-- licence -->\n\n# The guide's start\n")
    cells = [
        {"cell_type": "code", "source": ["# no heading\n"]},
        {"cell_type": "markdown", "source": ["# Look\n", "at this\n"]},
    ]
    (sources / "look.ipynb").write_text(json.dumps({"cells": cells}))
    (built / "index.html").write_text(
        '<h1>All of <code><span>x</span></code><a class="headerlink" href="#x">#</a></h1>'
        '<p id="x"><a href="guide.html#end">more</a></p>'
    )
    (built / "guide.html").write_text('<h1>The guide’s start</h1><h1>Another</h1><i id="end"></i>')
    (built / "look.html").write_text("<h1>Look</h1>")
    return built, sources


def test_a_site_without_a_fault(site: tuple[Path, Path]) -> None:
    built, sources = site
    assert problems(built, sources) == []
    assert heading(sources / "index.md") == "All of x"


def test_a_page_that_another_was_written_over_is_told(site: tuple[Path, Path]) -> None:
    built, sources = site
    (built / "guide.html").write_text('<h1>Search</h1><i id="end"></i>')
    (built / "look.html").write_text("<noscript>Please activate JavaScript.</noscript>")
    assert problems(built, sources) == [
        f"guide.html: headed 'Search', but {sources / 'guide.md'} is headed \"The guide's start\"",
        f"look.html: headed None, but {sources / 'look.ipynb'} is headed 'Look'",
    ]
    (built / "look.html").unlink()
    assert f"look.html: no such page, for {sources / 'look.ipynb'}" in problems(built, sources)


def test_links_that_lead_nowhere_are_told(site: tuple[Path, Path]) -> None:
    built, sources = site
    (built / "look.html").write_text(
        '<h1>Look</h1><a href="gone.html">a</a><a href="guide.html#gone">b</a>'
        '<a href="https://example.org">c</a><img src="https://example.org/x.png">'
    )
    assert problems(built, sources) == [
        "look.html: gone.html: no such file",
        "look.html: guide.html#gone: no such place",
        "look.html: https://example.org/x.png: loaded from elsewhere",
    ]
