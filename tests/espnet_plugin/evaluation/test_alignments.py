from __future__ import annotations

import pytest

from espnet_plugin.evaluation.alignments import (
    AlignmentError,
    Word,
    read_ctm,
    read_textgrid,
    read_textgrids,
)

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "ah"
    item [2]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 1
            text = "say ""hi"""
        intervals [3]:
            xmin = 1
            xmax = 1.5
            text = "12"
'''
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
2
"TextTier"
"points"
0
1.5
1
0.5
"click"
"IntervalTier"
"Words"
0
1.5
2
0
1
"dog"
1
1.5
"sil"
"""


def test_ctm(tmp_path):
    path = tmp_path / "words.ctm"
    path.write_text(
        ";; comment\n\nu1 1 0.50 0.25 d\u2028og\nu1\t1 0.00  0.50 a 0.98\nu2 A 1 0.5 <eps>\n"
    )
    assert read_ctm(path) == {"u1": [Word("a", 0.0, 0.5), Word("d\u2028og", 0.5, 0.75)]}
    with pytest.raises(FileNotFoundError):
        read_ctm(tmp_path / "none.ctm")


@pytest.mark.parametrize("line", ["u1 1 0.5 dog", "u1 1 0.5 -1 dog", "u1 1 nan 0.1 dog", "u1"])
def test_an_utterance_with_a_damaged_line_is_left_out_and_counted(tmp_path, caplog, line):
    path = tmp_path / "words.ctm"
    path.write_text(f"u1 1 0.0 0.5 a\n{line}\nu2 1 0.0 0.5 a\u2028b\n")
    assert list(read_ctm(path)) == ["u2"]
    assert "1 utterances are left out" in caplog.text and "words.ctm:2: expected" in caplog.text
    path.write_text(line)
    with pytest.raises(AlignmentError, match="no utterance .*words.ctm:1: expected 'utterance"):
        read_ctm(path)
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(AlignmentError, match="words.ctm: not UTF-8"):
        read_ctm(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_textgrid_in_both_formats(tmp_path, encoding):
    (tmp_path / "u1.TextGrid").write_text(LONG, encoding=encoding)
    (tmp_path / "u2.TextGrid").write_text(SHORT, encoding=encoding)
    expected = {
        "u1": [Word('say "hi"', 0.25, 1.0), Word("12", 1.0, 1.5)],
        "u2": [Word("dog", 0.0, 1.0)],
    }
    assert read_textgrids(tmp_path) == expected


def test_a_damaged_textgrid_is_left_out_and_counted(tmp_path, caplog):
    (tmp_path / "u1.TextGrid").write_text(LONG)
    (tmp_path / "u2.TextGrid").write_text(SHORT[: SHORT.index("Words")])
    assert list(read_textgrids(tmp_path)) == ["u1"]
    assert "1 utterances are left out" in caplog.text and "u2.TextGrid" in caplog.text
    (tmp_path / "u1.TextGrid").unlink()
    with pytest.raises(AlignmentError, match="u2.TextGrid"):
        read_textgrids(tmp_path)


def test_bad_textgrids(tmp_path):
    path = tmp_path / "u1.TextGrid"
    path.write_text(LONG.replace('"words"', '"syllables"'))
    with pytest.raises(ValueError, match="no interval tier 'words', only .*'syllables'"):
        read_textgrid(path)
    path.write_text("nothing")
    with pytest.raises(ValueError, match="no TextGrid"):
        read_textgrid(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no \\*.TextGrid"):
        read_textgrids(tmp_path)
