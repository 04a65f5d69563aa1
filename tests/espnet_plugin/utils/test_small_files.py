from __future__ import annotations

from pathlib import Path

import pytest

from espnet_plugin.utils.small_files import read_json, read_yaml

DEEP = 200_000


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_content(tmp_path: Path, read) -> None:
    (tmp_path / "file").write_text('{"a": [1, "é"]}', encoding="utf-8")
    assert read(tmp_path / "file") == read(str(tmp_path / "file")) == {"a": [1, "é"]}
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("read", "content", "kind"),
    [
        (read_json, b"{", "JSON"),
        (read_json, b"\xff\xfe", "JSON"),  # not UTF-8
        (read_json, b"[" * DEEP, "JSON"),
        (read_yaml, b"a: [", "YAML"),
        (read_yaml, b"[" * DEEP, "YAML"),
        (read_yaml, b"\xff\xfe", "YAML"),
        (read_yaml, b"!!python/object/apply:os.getcwd []", "YAML"),
        (read_yaml, b"a: !!timestamp [", "YAML"),
    ],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, read, content: bytes, kind: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"^{tmp_path}/file: not a {kind} file: "):
        read(tmp_path / "file")
    with pytest.raises(ValueError, match=f"^-c x: not a {kind} file: "):
        read(tmp_path / "file", name="-c x")
