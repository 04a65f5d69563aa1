from __future__ import annotations

import pytest

from espnet_plugin.data.words import SpokenWord
from espnet_plugin.evaluation.alignments import AlignmentError, read_ctm
from espnet_plugin.utils.errors import DataError


def test_ctm(tmp_path):
    path = tmp_path / "words.ctm"
    path.write_text(
        ";; comment\n\nu1 1 0.50 0.25 d\u2028og\nu1\t1 0.00  0.50 a 0.98\nu2 A 1 0.5 <eps>\n"
    )
    words = [SpokenWord("a", None, 0.0, 0.5), SpokenWord("d\u2028og", None, 0.5, 0.75)]
    assert read_ctm(path) == {"u1": words}
    with pytest.raises(FileNotFoundError):
        read_ctm(tmp_path / "none.ctm")


@pytest.mark.parametrize("line", ["u1 1 0.5 dog", "u1 1 0.5 -1 dog", "u1 1 nan 0.1 dog", "u1"])
def test_an_utterance_with_a_damaged_line_is_left_out_and_counted(tmp_path, caplog, line):
    path = tmp_path / "words.ctm"
    path.write_text(f"u1 1 0.0 0.5 a\n{line}\nu2 1 0.0 0.5 a\u2028b\n")
    assert list(read_ctm(path)) == ["u2"]
    assert "word alignments: 1, kept" in caplog.text and "words.ctm:2: expected" in caplog.text
    path.write_text(line)
    with pytest.raises(AlignmentError, match="no utterance .*words.ctm:1: expected 'utterance"):
        read_ctm(path)
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(DataError, match="words.ctm: not UTF-8"):
        read_ctm(path)
