"""Formulas as MathML, which browsers draw themselves: the site loads nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

# commands that docutils does not know or draws with a letter that many fonts lack, and equals
ALIASES = {r"\\dots\b": r"\\ldots", r"\\mathbin\b": "", r"\\setminus\b": r"\\backslash"}


def _markup(node: nodes.Element, *, as_block: bool) -> str:
    formula = node.astext()
    for command, alias in ALIASES.items():
        formula = re.sub(command, alias, formula)
    try:
        return tex2mathml(formula, as_block=as_block)
    except MathError as error:
        logging.getLogger(__name__).warning(f"{node.astext()}: {error}", location=node)
        return ""


def _inline(writer: Any, node: nodes.Element) -> None:
    writer.body.append(_markup(node, as_block=False))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.Element) -> None:
    writer.body.append(_markup(node, as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Makes it Sphinx's way to write formulas."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
