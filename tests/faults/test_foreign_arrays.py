"""Stored arrays from strangers: an object in them is never unpickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from espnet2.fileio.npy_scp import NpyScpReader

from espnet_plugin.data.image_embedding import read_embedding
from espnet_plugin.data.inference_set import read_embeddings
from tests.pickles import touch


def by_espnet(path: Path) -> Any:
    """As training reads image embeddings."""
    path.with_suffix(".scp").write_text(f"a {path}\n")
    return NpyScpReader(path.with_suffix(".scp"))["a"]


READERS = {
    "training": by_espnet,
    "inference": lambda path: read_embedding(str(path)),
    "scoring": lambda path: read_embeddings(path, 1, "ids"),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("form", ["object", "pickle", "archive"])
def test_objects_are_refused(reader: Callable[[Path], Any], form: str, tmp_path: Path) -> None:
    path, content = tmp_path / "a.npy", np.array([touch(tmp_path / "executed")], dtype=object)
    with path.open("wb") as file:
        if form == "object":
            np.save(file, content, allow_pickle=True)
        elif form == "pickle":
            file.write(pickle.dumps(content))
        else:
            np.savez(file, a=content)
    with pytest.raises((ValueError, TypeError, AttributeError)):
        array = reader(path)
        array["a"]  # an archive is read member by member
    assert not (tmp_path / "executed").exists()
