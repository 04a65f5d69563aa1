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
    for script in (PROJECT / "tools", PROJECT / "egs2" / "speechclip_plus"):
        for file in script.glob("*.sh"):
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
    recipe = "egs2/speechclip_plus/README.md"
    assert site_links("[a](../../docs/parity.md#x)", recipe, "recipe") == "[a](parity.md#x)"
    assert site_links("[a](RESULTS.md)", recipe, "recipe") == "[a](results.md)"
    assert site_links("[a](local/mini/README.md#x)", recipe, "recipe") == "a"
    tutorial = "docs/tutorials/python.md"
    assert site_links("[a](../recipe.md)", tutorial, tutorial[5:-3]) == "[a](../recipe.md)"
    assert site_links("[a](../README.md)", "docs/x.md", "x") == "[a](index.md)"
    assert site_links("![a](overview.svg)", "docs/index.md", "index") == "![a](overview.svg)"
    assert site_links("[a](docs) [b](https://x.y/z) [c](#d)", "README.md", "x") == (
        "a [b](https://x.y/z) [c](#d)"
    )


def test_what_follows_a_pointer_follows_the_file_that_it_shows() -> None:
    repository = load(DOCS / "_ext" / "repository.py")
    app = SimpleNamespace(env=SimpleNamespace(note_dependency=lambda path: None))
    source = ["The site shows it here.\n\nMore.\n"]
    repository._read(app, "changelog", source)
    assert source[0].startswith("# Changelog\n")
    assert source[0].endswith("\n\nMore.\n")
    assert "The site shows it here" not in source[0]
