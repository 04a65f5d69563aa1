from __future__ import annotations

from pathlib import Path

import pytest

from espnet_plugin.data.sampler_files import read_image_ids, read_lengths
from espnet_plugin.utils.errors import DataError


def test_image_ids_are_needed_for_every_utterance(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("a 1\n")
    data = [(str(tmp_path / "ids"), "image_id", "text_int")]
    assert read_image_ids(data, ["a"]) == {"a": "1"}
    with pytest.raises(ValueError, match="utterance b"):
        read_image_ids(data, ["a", "b"])


def test_lengths_come_from_the_first_column_of_a_shape(tmp_path: Path) -> None:
    (tmp_path / "shape").write_text("a 120,4\nb 7\n")
    assert read_lengths([str(tmp_path / "shape")]) == {"a": 120, "b": 7}
    assert read_lengths([str(tmp_path / "shape")], ["b"]) == {"b": 7}
    with pytest.raises(DataError, match="shape: no length of utterance c; run stages 2 and 3"):
        read_lengths([str(tmp_path / "shape")], ["a", "c"])
    (tmp_path / "shape").write_text("a\n")
    with pytest.raises(DataError, match="shape: a: expected a length, found ''"):
        read_lengths([str(tmp_path / "shape")])
    (tmp_path / "shape").write_text("a 1\nb 2\na 3\n")
    with pytest.raises(DataError, match="shape: 'a' is there more than once"):
        read_lengths([str(tmp_path / "shape")])
