"""Replaces the file of vectors; the new one counts once the catalog names it."""

from __future__ import annotations

from pathlib import Path

from espnet_plugin.search.catalog import Catalog
from espnet_plugin.search.model import IndexedModel
from espnet_plugin.search.vectors import GrowingArray, read_rows, vectors_file


def compact(directory: Path, catalog: Catalog) -> None:
    """Writes a new file without the vectors that have no image."""
    generation, dim = catalog.setting("generation", 0), catalog.setting("dim")
    old = read_rows(vectors_file(directory, generation), width=dim, rows=catalog.vectors())
    new = GrowingArray(_next_file(directory, generation), width=dim)
    with catalog.transaction():
        for rows in catalog.renumber():
            new.append(old[rows])
        catalog.set("generation", generation + 1)
        catalog.set("centered_on", None)  # the codes are of other rows


def begin_anew(directory: Path, catalog: Catalog, model: IndexedModel) -> None:
    """Empties an index for the vectors of another model; its folders are kept."""
    generation = catalog.setting("generation", 0)
    _next_file(directory, generation)
    with catalog.transaction():
        catalog.forget_images()
        for name, value in {"model": vars(model), "generation": generation + 1}.items():
            catalog.set(name, value)
        for name in ("dim", "centered_on"):
            catalog.set(name, None)


def _next_file(directory: Path, generation: int) -> Path:
    """Path of the new vectors; the leftovers of a killed run are removed."""
    target = vectors_file(directory, generation + 1)
    target.unlink(missing_ok=True)
    return target
