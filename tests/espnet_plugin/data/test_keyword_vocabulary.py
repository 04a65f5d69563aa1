"""The keyword vocabulary from captions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espnet_plugin.bin.keyword_vocabulary import main
from espnet_plugin.speechclip.vocabulary import KeywordVocabulary


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "clip.json"
    path.write_text(json.dumps({"embed_dim": 8, "text_cfg": {"context_length": 77}}))
    return str(path)


def test_counts_over_all_files_most_frequent_first(tmp_path: Path, model: str) -> None:
    (tmp_path / "a").write_text("u1 a dog\nu2 A dog, a cat\n")
    (tmp_path / "b").write_text("u3 a cat and a dog\n")
    out = tmp_path / "tokens.tsv"
    main(
        ["--text", str(tmp_path / "a"), str(tmp_path / "b")]
        + ["--output", str(out), "--clip_model", model]
    )
    lines = [line.split("\t") for line in out.read_text().splitlines()]
    assert lines[0] == ["id", "token", "count"]
    assert lines[1] == ["320", "a</w>", "5"]
    assert [line[1:] for line in lines[2:4]] == [["dog</w>", "3"], ["cat</w>", "2"]]
    assert len(KeywordVocabulary.from_file(out).ids) == len(lines) - 1 == 5
    # neither start nor end of text
    assert not {"49406", "49407"} & {line[0] for line in lines}


def test_whole_clip_has_everything_but_the_special_tokens(tmp_path: Path, model: str) -> None:
    out = tmp_path / "tokens.tsv"
    main(["--whole_clip", "--output", str(out), "--clip_model", model])
    ids = KeywordVocabulary.from_file(out).ids
    assert sorted(ids) == list(range(49406))


def test_errors_name_the_remedy(tmp_path: Path, model: str) -> None:
    with pytest.raises(SystemExit, match="no captions"):
        main(["--output", str(tmp_path / "x"), "--clip_model", model])
    with pytest.raises(SystemExit, match="none is missing"):
        main(["--text", str(tmp_path / "none"), "--output", "x", "--clip_model", model])
    with pytest.raises(SystemExit, match="cannot be read"):
        main(["--output", "x", "--clip_model", str(tmp_path / "none.json")])
