"""Data directories: consistency, filtering, splitting."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_plugin.bin.datadir import main
from espnet_plugin.data import datadir
from espnet_plugin.data.scp import read_lines, read_scp, write_scp
from espnet_plugin.utils.errors import DataError


def write(directory: Path, **files: str) -> Path:
    """Files with one line per "/"-separated entry; "__" in a name stands for a dot."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        lines = "".join(line + "\n" for line in text.split("/"))
        (directory / name.replace("__", ".")).write_text(lines, encoding="utf-8")
    return directory


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two images with two captions each, two speakers."""
    return write(
        tmp_path / "corpus",
        wav__scp="a_1 a1.wav/a_2 a2.wav/b_1 b1.wav/b_2 b2.wav",
        text="a_1 one dog/a_2 a dog/b_1 one cat/b_2 a cat",
        utt2spk="a_1 s/a_2 t/b_1 s/b_2 t",
        utt2image="a_1 a/a_2 a/b_1 b/b_2 b",
        utt2num_samples="a_1 16000/a_2 8000/b_1 32000/b_2 1600",
        image__scp="a a.png/b b.png",
        words__ctm="a_1 1 0.0 0.5 one/a_1 1 0.5 0.5 dog/b_1 1 0 1 one",
        meanings__ctm="a_1 1 0.5 0.5 dog/b_1 1 0 1 one",
    )


def test_fix_keeps_what_every_file_has_and_sorts(corpus: Path) -> None:
    write(corpus, text="b_2 a cat/b_1 one cat/a_1 one dog")  # a_2 lost, order wrong
    report = datadir.fix(corpus)
    assert report == ["3 utterances kept", "1 utterance removed: not in text (a_2)"]
    assert list(read_scp(corpus / "wav.scp")) == ["a_1", "b_1", "b_2"]
    assert list(read_scp(corpus / "text")) == ["a_1", "b_1", "b_2"]
    assert read_scp(corpus / "spk2utt") == {"s": "a_1 b_1", "t": "b_2"}
    assert datadir.problems(corpus) == []


def test_fix_removes_captions_without_picture_and_unused_pictures(corpus: Path) -> None:
    write(corpus, image__scp="a a.png/c c.png")
    report = datadir.fix(corpus)
    assert report[1:] == ["2 utterances removed: its image is not in image.scp (b_1, b_2)"]
    assert read_scp(corpus / "image.scp") == {"a": "a.png"}
    assert [value for _, value in read_lines(corpus / "words.ctm")] == [
        "1 0.0 0.5 one",
        "1 0.5 0.5 dog",
    ]
    assert [value for _, value in read_lines(corpus / "meanings.ctm")] == ["1 0.5 0.5 dog"]


def test_fix_refuses_to_leave_nothing(corpus: Path) -> None:
    write(corpus, image__scp="c c.png")
    with pytest.raises(DataError, match="no utterance is left"):
        datadir.fix(corpus)


def test_problems_name_file_and_reason(corpus: Path) -> None:
    write(corpus, spk2utt="s a_1 b_1/t a_2 b_2", utt2spk="b_1 s/a_1 s/a_2 t/b_2", image__scp="a a")
    found = "\n".join(datadir.problems(corpus))
    assert "utt2spk: not sorted" in found
    assert "utt2spk: no value after 1 id, the first is b_2" in found
    assert "image.scp: lacks 1 image ['b']" in found
    (corpus / "text").unlink()
    assert any("text: missing" in line for line in datadir.problems(corpus))
    assert not any("text" in line for line in datadir.problems(corpus, text=False))


def test_validate_says_what_to_do(corpus: Path) -> None:
    write(corpus, text="a_1 one dog")
    datadir.write_spk2utt(corpus)
    with pytest.raises(DataError, match="datadir fix --dir"):
        datadir.validate(corpus)


def test_an_id_twice_stops_every_command(corpus: Path) -> None:
    write(corpus, text="b_1 x/a_1 one/a_2 x/a_1 two")
    datadir.write_spk2utt(corpus)
    for command in ("fix", "validate"):
        with pytest.raises(SystemExit, match="text: 'a_1' is there more than once"):
            main([command, "--dir", str(corpus)])
    write(corpus, utt2image="b_1 b/a_1 a/a_2 a/a_1 b")
    with pytest.raises(SystemExit, match="utt2image: 'a_1' is there more than once"):
        main(["image_ids", "--dir", str(corpus)])


def test_captions_with_what_others_take_for_line_ends(corpus: Path) -> None:
    from espnet2.fileio.read_text import read_2columns_text

    captions = {"a_1": "one\u2028dog", "a_2": "a\x85dog", "b_1": "one\rcat", "b_2": "a\v\fcat"}
    write_scp(corpus / "text", captions)
    datadir.write_spk2utt(corpus)
    message = "text: a carriage return, at which ESPnet ends a line, in 1 line, the first is b_1"
    assert [problem.removeprefix(f"{corpus}/") for problem in datadir.problems(corpus)] == [message]
    assert datadir.fix(corpus) == ["4 utterances kept"]
    assert datadir.problems(corpus) == []
    fixed = captions | {"b_1": "one cat"}
    assert read_scp(corpus / "text") == fixed == read_2columns_text(corpus / "text")


def test_ids_sort_by_bytes(tmp_path: Path) -> None:
    write_scp(tmp_path / "x", {"b": 1, "B": 2, "a_10": 3, "a_1": 4, "ä": 5})
    assert list(read_scp(tmp_path / "x")) == ["B", "a_1", "a_10", "b", "ä"]


def test_filter_by_duration(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    main(
        ["filter", "--input_dir", str(corpus), "--output_dir", str(out), "--fs", "16k"]
        + ["--min_seconds", "0.5", "--max_seconds", "1.5"]
    )
    assert list(read_scp(out / "text")) == ["a_1", "a_2"]
    assert list(read_scp(out / "image.scp")) == ["a"]
    assert len(read_scp(corpus / "text")) == 4


def test_filter_that_leaves_nothing_names_the_options(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--min_wav_duration"):
        main(
            ["filter", "--input_dir", str(corpus), "--output_dir", str(tmp_path / "out")]
            + ["--min_seconds", "100"]
        )


def test_image_ids_are_equal_for_one_picture(corpus: Path) -> None:
    main(["image_ids", "--dir", str(corpus), "--audio_format", "wav"])
    assert read_scp(corpus / "utt2image_id") == {"a_1": "0", "a_2": "0", "b_1": "1", "b_2": "1"}
    assert (corpus / "audio_format").read_text() == "wav\n"


def test_image_feats_drop_captions_of_unreadable_pictures(corpus: Path, tmp_path: Path) -> None:
    write(tmp_path, image_embedding__scp="b b.npy")
    main(
        ["image_feats", "--dir", str(corpus)]
        + ["--embedding_scp", str(tmp_path / "image_embedding.scp")]
    )
    assert read_scp(corpus / "image_feat.scp") == {"b_1": "b.npy", "b_2": "b.npy"}
    assert list(read_scp(corpus / "text")) == ["b_1", "b_2"]


def test_missing_file_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="wav.scp: missing"):
        main(["fix", "--dir", str(tmp_path)])


@pytest.mark.parametrize("caption", ["\x01\x07", "\u200b", "&nbsp;", "\u2028", ""])
def test_fix_removes_captions_in_which_nothing_is_written(corpus: Path, caption: str) -> None:
    write(corpus, text=f"a_1 {caption}/a_2 a\x07 dog/b_1 &amp; cat/b_2 \U0001f600")
    report = datadir.fix(corpus)
    assert report[1:] == ["1 utterance removed: its caption holds nothing readable (a_1)"]
    assert datadir.problems(corpus) == []


def test_the_limits_are_named_when_they_leave_nothing(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="left.*too short.*wanted are 90 to 99 s, see --min_wav"):
        datadir.keep_by_duration(corpus, tmp_path / "target", fs=16000, shortest=90, longest=99)


def test_tables_of_an_earlier_run_do_not_shrink_this_one(corpus: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    datadir.keep_by_duration(corpus, target, fs=16000, shortest=0.4, longest=99)
    write(target, image_feat__scp="a_1 a.npy", speech_states__scp="a_1 x.npy")
    datadir.keep_by_duration(corpus, target, fs=16000, shortest=0.4, longest=99)
    assert datadir.fix(target) == ["3 utterances kept"]
    (corpus / "text").unlink()
    datadir.copy(corpus, target)
    assert not (target / "text").exists()
