"""What pages say of the code, the code says too."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from espnet_plugin.model.cif import fire
from tests.pages import PROJECT
from tests.prose import PAGES

DOCS = PROJECT / "docs"


def load(file: Path) -> ModuleType:
    """A module that is in no package."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quoted_messages() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^> `(.*)`$", text, re.MULTILINE)


@cache
def messages() -> tuple[str, ...]:
    """What programs may say: each string of the packages, and each line of a script."""
    found = []
    for package in ("espnet_plugin", "s3prl_upstream"):
        for file in (PROJECT / package).rglob("*.py"):
            found += strings(ast.parse(file.read_text(encoding="utf-8")))
    for folder in ("tools", "egs2/speechclip_plus", "egs2/speechclip_plus/scripts/stages"):
        for file in (PROJECT / folder).glob("*.sh"):
            text = re.sub(r"\$\{\w+\}|\$\w+", "…", file.read_text(encoding="utf-8"))
            found += text.splitlines()
    return tuple(found)


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_of_the_page_is_one_of_the_code(message: str) -> None:
    # code puts quotes of its own around some values, by their repr
    plain = message.replace("'", "").replace("`", "")
    parts = [re.escape(part) for part in plain.split("…")]
    wanted = re.compile(".*".join(parts))
    said = (text.replace("'", "").replace("`", "") for text in messages())
    assert any(wanted.search(text) for text in said)


def test_the_firing_figure_is_as_the_text_says() -> None:
    """Three words of 20 ms frames with pauses between them; the last is not said to its end."""
    alphas = (
        *(0.05, 0.15, 0.3, 0.35, 0.2, 0.05, 0.0, 0.0),
        *(0.1, 0.3, 0.35, 0.2, 0.05, 0.0, 0.0),
        *(0.1, 0.2, 0.25, 0.1),
    )
    shares, output = fire(torch.tensor([alphas]), tail_threshold=0.5, max_slots=3)
    assert len(alphas) == 19
    assert np.flatnonzero(output.fired[0]).tolist() == [4, 11, 18]
    assert sum(alphas) == pytest.approx(2.75)
    np.testing.assert_allclose(shares[0].sum(dim=1), np.ones(3), rtol=1e-6)
    shared = (shares[0] > 0).sum(dim=0)
    assert np.flatnonzero(shared == 2).tolist() == [4, 11]


def test_every_command_is_listed() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    listed = re.findall(r"^   espnet_plugin\.bin\.(\w+)$", page, re.MULTILINE)
    assert listed == sorted(path.stem for path in PROJECT.glob("espnet_plugin/bin/[!_]*.py"))


def test_links_between_files_are_links_between_pages() -> None:
    site_links = load(DOCS / "_ext" / "repository.py").site_links
    recipe, page = "egs2/speechclip_plus/README.md", "repository/recipe"
    assert site_links("[a](../../docs/parity.md#x)", recipe, page) == "[a](../parity.md#x)"
    assert site_links("[a](RESULTS.md)", recipe, page) == "[a](results.md)"
    assert site_links("[a](results/README.md#x)", recipe, page) == "a"
    tutorial = "docs/tutorials/python.md"
    assert site_links("[a](../../CHANGELOG.md)", tutorial, tutorial[5:-3]) == (
        "[a](../repository/changelog.md)"
    )
    assert site_links("[a](../README.md)", "docs/x.md", "x") == "[a](index.md)"
    assert site_links("![a](docs/overview.svg)", "README.md", "index") == "![a](overview.svg)"
    assert site_links("[![a](docs/b.jpg)](docs/c.md#d)", "README.md", "index") == (
        "[![a](b.jpg)](c.md#d)"
    )
    assert site_links("[a](docs) [b](https://x.y/z) [c](#d)", "README.md", "x") == (
        "a [b](https://x.y/z) [c](#d)"
    )


def test_the_site_has_a_page_for_each_file_that_it_includes(tmp_path: Path) -> None:
    repository = load(DOCS / "_ext" / "repository.py")
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "gone.md").touch()
    repository._write_pages(SimpleNamespace(srcdir=tmp_path))
    pages = {path.stem: path.read_text() for path in (tmp_path / "repository").iterdir()}
    assert pages.keys() == repository.FILES.keys()
    assert pages["changelog"] == "```{include} ../../CHANGELOG.md\n```\n"
    assert all((PROJECT / file).is_file() for file in repository.FILES.values())
    listed = re.findall(r"repository/(\w+)", (DOCS / "index.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(repository.FILES)


def heading_addresses(page: Path) -> set[str]:
    """The addresses that GitHub and MyST give to a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


def pages_for_readers() -> list[Path]:
    """All pages but those whose links are right in ESPnet only."""
    elsewhere = PROJECT / "contrib" / "espnet"
    found = {path for pattern in PAGES for path in PROJECT.glob(pattern)}
    return sorted(path for path in found if not path.is_relative_to(elsewhere))


@pytest.mark.parametrize(
    "page", pages_for_readers(), ids=lambda path: str(path.relative_to(PROJECT))
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.M | re.S)
    for target, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in heading_addresses(linked), f"{target}#{anchor}"
