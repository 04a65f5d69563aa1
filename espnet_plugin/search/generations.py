"""A new file of vectors in the place of the old one; it counts when the catalog says so."""

from __future__ import annotations

from pathlib import Path

from espnet_plugin.search.catalog import Catalog
from espnet_plugin.search.model import IndexedModel
from espnet_plugin.search.vectors import GrowingArray, read_rows, vectors_file


def compact(directory: Path, catalog: Catalog) -> None:
    """Leaves out the vectors without a picture."""
    generation, dim = catalog.setting("generation", 0), catalog.setting("dim")
    old = read_rows(vectors_file(directory, generation), width=dim, rows=catalog.vectors())
    new = GrowingArray(_next_file(directory, generation), width=dim)
    with catalog.transaction():
        for rows in catalog.renumber():
            new.append(old[rows])
        catalog.set("generation", generation + 1)
        catalog.set("centered_on", None)  # the codes are of other rows


def begin_anew(directory: Path, catalog: Catalog, model: IndexedModel) -> None:
    """Empties an index for the vectors of another model; its folders stay known."""
    generation = catalog.setting("generation", 0)
    _next_file(directory, generation)
    with catalog.transaction():
        catalog.forget_pictures()
        for name, value in {"model": vars(model), "generation": generation + 1}.items():
            catalog.set(name, value)
        for name in ("dim", "centered_on"):
            catalog.set(name, None)


def _next_file(directory: Path, generation: int) -> Path:
    """Where the new vectors go; what a run that was killed has left there is removed."""
    target = vectors_file(directory, generation + 1)
    target.unlink(missing_ok=True)
    return target
