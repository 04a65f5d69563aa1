from __future__ import annotations

from pathlib import Path

import numpy as np

from espnet_plugin.inference.outputs import SetOutputs, read_outputs


def test_any_id_keeps_its_attention_map(tmp_path: Path) -> None:
    """``file`` is an argument of NumPy's own function."""
    ids = ("file", "a/b", "a.npy", "\u2028")
    maps = {name: np.full((1, 2, 3), number, np.float32) for number, name in enumerate(ids)}
    rows = {name: {"speech_parallel": np.ones(2, np.float32)} for name in ("file", "x")}
    SetOutputs(arrays=rows, attention=maps).write(tmp_path)
    found = read_outputs(tmp_path).attention
    assert found.keys() == maps.keys()
    assert all((found[name] == maps[name]).all() for name in maps)
