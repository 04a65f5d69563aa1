from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.scp import DataError
from tests.egs2.corpora import conftest  # noqa: F401  (makes local importable)

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(
    records=st.lists(values, max_size=6),
    before=st.dictionaries(st.sampled_from("abc"), values, max_size=2),
    indent=st.none() | st.integers(0, 2),
    bare=st.booleans(),
)
def test_records_come_as_json_load_gives_them(
    tmp_path_factory: pytest.TempPathFactory, records, before, indent, bare
) -> None:
    from local.shared.json_stream import stream_records

    path = tmp_path_factory.mktemp("json") / "x.json"
    content = records if bare else {**before, "data": records, "z": 1}
    path.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    assert list(stream_records(path, "data")) == records


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_file_that_ends_early_is_an_error(tmp_path: Path, cut: int) -> None:
    from local.shared.json_stream import stream_records

    text = json.dumps({"a": [1], "data": [{"x": 1}, {"y": [2, 3]}]})
    path = tmp_path / "x.json"
    # the closing brace of the outermost object is not needed, all else is
    path.write_text(text[: len(text) - 1 - cut])
    with pytest.raises(DataError, match="x.json"):
        list(stream_records(path, "data"))
