"""Lists the commands of a package: the first sentence of each module's docstring."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]


class Commands(Directive):
    """``commands`` with a package's name."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A definition list, a command an item."""
        package = self.arguments[0]
        listed = nodes.definition_list()
        for file in sorted((ROOT / package.replace(".", "/")).glob("[!_]*.py")):
            documentation = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            summary = " ".join(documentation.split("\n\n")[0].split())
            term = nodes.term("", "", nodes.literal("", f"python -m {package}.{file.stem}"))
            definition = nodes.definition("", nodes.paragraph("", summary))
            listed += nodes.definition_list_item("", term, definition)
        return [listed]


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
