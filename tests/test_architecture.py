"""docs/architecture.md draws which room imports which; this keeps the drawing true."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGES = ("espnet_plugin", "s3prl_upstream")
EVERYBODYS = {"utils", "compat"}  # used by all, and use none


def imports(file: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, lazily or not."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # what is imported from a package may be a room of it
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(module: str) -> str | None:
    """The room of a module; None for other people's."""
    package, *rest = module.split(".")
    if package == "espnet_plugin":
        return rest[0] if rest else None
    return package if package in PACKAGES else None


def imported_rooms() -> dict[tuple[str, str], str]:
    """Pairs of rooms of which the first imports the second, and a place where it does."""
    found: dict[tuple[str, str], str] = {}
    for package in PACKAGES:
        for file in sorted((PROJECT / package).rglob("*.py")):
            name = ".".join(file.relative_to(PROJECT).with_suffix("").parts)
            here = room(name.removesuffix(".__init__"))
            for module in imports(file):
                there = room(module)
                if here and there and here != there:
                    found.setdefault((here, there), f"{name} imports {module}")
    return found


def drawn_rooms() -> set[tuple[str, str]]:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return set(re.findall(r"^ +(\w+) --> (\w+)$", text, flags=re.MULTILINE))


def test_every_import_is_drawn_and_every_arrow_is_used() -> None:
    found = {pair: place for pair, place in imported_rooms().items() if pair[1] not in EVERYBODYS}
    missing = {pair: found[pair] for pair in found.keys() - drawn_rooms()}
    assert not missing, f"not in docs/architecture.md: {missing}"
    unused = drawn_rooms() - found.keys()
    assert not unused, f"drawn, but nothing imports so: {unused}"


def test_no_arrow_goes_back_up() -> None:
    arrows = drawn_rooms()
    rooms = {name for pair in arrows for name in pair}
    while rooms:
        lowest = {name for name in rooms if not any(a == name and b in rooms for a, b in arrows)}
        assert lowest, f"a circle among {rooms}"
        rooms -= lowest


def test_the_model_stands_alone() -> None:
    for (here, there), place in imported_rooms().items():
        assert here != "speechclip" or there == "speechclip", place
        assert here not in EVERYBODYS, place
    foreign = {"espnet", "espnet2", "espnet3"}
    for file in (PROJECT / "espnet_plugin" / "speechclip").rglob("*.py"):
        assert not foreign & {module.split(".")[0] for module in imports(file)}, file
