from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_plugin.data.datadir import problems
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora.conftest import RECIPE, recipe_copy, write_picture, write_wav


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve pictures with two recordings each, no captions and no splits."""
    root = tmp_path / "mine"
    rows = ["wav\timage"]
    for image in range(12):
        write_picture(root / "images" / "set one" / f"{image}.jpg")
        for n in range(2):
            write_wav(root / "wavs" / f"{image}-{n}.wav")
            rows.append(f"{image}-{n}.wav\tset one/{image}.jpg")
    (root / "corpus.tsv").write_text("\n".join(rows) + "\n")
    return root


def prepare(root: Path, data: Path):
    from local.custom.prepare import read_custom
    from local.shared.sets import prepare_sets

    return prepare_sets(read_custom(root), data)


def test_an_unwritten_language_needs_no_captions(root: Path, tmp_path: Path) -> None:
    summary = prepare(root, tmp_path / "data")
    assert summary.kept == 24
    assert summary.lines()[0] == "custom: prepared"  # nothing is published
    assert [line.split() for line in summary.lines()[2:5]] == [
        ["train", "10", "20", "1"], ["dev", "1", "2", "1"], ["test", "1", "2", "1"]
    ]  # fmt: skip
    for split in ("train", "dev", "test"):
        directory = tmp_path / "data" / f"custom_{split}"
        assert not (directory / "text").exists()
        assert problems(directory, text=False) == []
    every = [read_scp(tmp_path / f"data/custom_{s}/utt2image") for s in ("train", "dev", "test")]
    assert set().union(*every) == {f"set-one-{i}_{n}" for i in range(12) for n in range(2)}


@pytest.mark.parametrize("images", range(3, 10))
def test_few_images_fill_every_split(root: Path, tmp_path: Path, images: int) -> None:
    rows = (root / "corpus.tsv").read_text().splitlines(keepends=True)
    (root / "corpus.tsv").write_text("".join(rows[: 1 + 2 * images]))
    sets = prepare(root, tmp_path / "data").sets
    assert [len(sets[s]) for s in ("train", "dev", "test")] == [2 * (images - 2), 2, 2]


def test_all_columns(root: Path, tmp_path: Path) -> None:
    rows = ["\ufeffImage\twav\tsplit\tspeaker\tlanguage\tcaption\r"]
    for image, split in enumerate(["train", "valid", "test"]):
        rows += [
            f"set one/{image}.jpg\t{image}-{n}.wav\t{split}\tAda L\tsw\tajá {n}\r" for n in range(2)
        ]
    (root / "corpus.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    prepare(root, tmp_path / "data")
    assert read_scp(tmp_path / "data/custom_dev/text") == {
        "set-one-1_0": "ajá 0",
        "set-one-1_1": "ajá 1",
    }
    assert read_scp(tmp_path / "data/custom_dev/spk2utt") == {"Ada-L": "set-one-1_0 set-one-1_1"}
    assert read_scp(tmp_path / "data/custom_test/utt2lang") == {
        "set-one-2_0": "sw",
        "set-one-2_1": "sw",
    }
    assert len(read_scp(tmp_path / "data/local/custom/captions")) == 6
    without = [row.rpartition("\t")[0] for row in rows]
    (root / "corpus.tsv").write_text("\n".join(without) + "\n", encoding="utf-8")
    prepare(root, tmp_path / "data")  # --vocab_from all would count the captions of before
    assert not read_scp(tmp_path / "data/local/custom/captions")


def test_captions_with_what_others_take_for_line_ends(root: Path, tmp_path: Path) -> None:
    spaces = ["\u2028", "\u2029", "\x85", "\v", "\f", "\r"]
    rows = [f"{n}-0.wav\tset one/{n}.jpg\tone{odd}{n}.\n" for n, odd in enumerate(spaces)]
    rows += [f"{n}-0.wav\tset one/{n}.jpg\tone\n" for n in range(6, 12)]
    (root / "corpus.tsv").write_bytes(("wav\timage\tcaption\n" + "".join(rows)).encode())
    assert prepare(root, tmp_path / "data").kept == 12
    text = read_scp(tmp_path / "data/custom_train/text")
    assert [text[f"set-one-{n}_0"] for n in range(6)] == [f"one {n}." for n in range(6)]


@pytest.mark.parametrize(
    "table, message",
    [
        ("wav\tpicture\n", r"corpus.tsv:1: the header is \['wav', 'picture'\]; needed: wav, image"),
        ("wav\timage\tsplit\n0-0.wav\tset one/0.jpg\tx\n", "split 'x' is none of train, dev, test"),
        (
            "wav\timage\tsplit\n0-0.wav\tset one/0.jpg\ttrain\n0-1.wav\tset one/0.jpg\tdev\n",
            "corpus.tsv:3: image set one/0.jpg is in dev and in train",
        ),
        ("wav\timage\n\tset one/0.jpg\n", "corpus.tsv:2: the column wav is empty"),
        ("wav\timage\n", "images: 0, but none in train or dev or test; .* Add images until"),
        (
            "wav\timage\n0-0.wav\tset one/0.jpg\n1-0.wav\tset one/1.jpg\n",
            "images: 2, but none in train; each of train, dev, test needs one",
        ),
        (
            "wav\timage\tsplit\n0-0.wav\tset one/0.jpg\ttrain\n1-0.wav\tset one/1.jpg\tdev\n",
            "but none in test; .* name a split for each image in the column split",
        ),
    ],
)
def test_a_wrong_table(root: Path, tmp_path: Path, table: str, message: str) -> None:
    (root / "corpus.tsv").write_text(table)
    with pytest.raises(DataError, match=message):
        prepare(root, tmp_path / "data")


def test_a_folder_arranged_another_way(root: Path, tmp_path: Path) -> None:
    (root / "wavs").rename(root / "sounds")
    with pytest.raises(
        DataError, match="looked for: wavs.*found there: corpus.tsv, images/, sounds"
    ):
        prepare(root, tmp_path / "data")
    (root / "other.tsv").write_text("")
    with pytest.raises(DataError, match="looked for one .tsv file, found: corpus.tsv, other.tsv"):
        prepare(root, tmp_path / "data")


def test_sets_are_of_one_folder(root: Path, tmp_path: Path) -> None:
    prepare(root, tmp_path / "data")
    before = read_scp(tmp_path / "data/custom_train/wav.scp")
    moved = tmp_path / "elsewhere" / "mine"
    shutil.copytree(root, moved)
    with pytest.raises(DataError, match=f"its sets are of {root}, not of {moved}. Rename one"):
        prepare(moved, tmp_path / "data")
    assert read_scp(tmp_path / "data/custom_train/wav.scp") == before
    (tmp_path / "data/local/custom/root").unlink()
    prepare(moved, tmp_path / "data")
    assert read_scp(tmp_path / "data/custom_train/wav.scp") != before


@pytest.mark.slow
def test_a_second_corpus_leaves_the_first_alone(root: Path, tmp_path: Path) -> None:
    """Neither a folder of another name nor one of the same name takes the place of its sets."""
    here = recipe_copy(tmp_path / "project")
    another, same = here / "an other", tmp_path / "elsewhere" / "mine"
    for folder in (another, same):
        shutil.copytree(root, folder)

    def run(folder: Path | str, stage: str) -> subprocess.CompletedProcess[str]:
        command = ["./run.sh", "--corpus", "custom", "--custom_root", str(folder), "--nj", "1"]
        command += ["--ngpu", "0", "--python", sys.executable]
        command += ["--stage", stage, "--stop_stage", stage]
        return subprocess.run(command, cwd=here, text=True, capture_output=True)

    for folder, name in ((root, "mine"), ("an other/", "an_other")):
        done = run(folder, "1")
        assert done.returncode == 0, done.stderr
        wavs = read_scp(here / f"data/custom_{name}_train/wav.scp")
        assert all(Path(folder).name in file for file in wavs.values())
    for stage in ("1", "8"):
        refused = run(same, stage)
        assert refused.returncode == 1
        assert f"custom_mine_* in data are of {root}, not of {same}. Rename" in refused.stderr
    found = sorted(path.name for path in (here / "data").glob("custom_*"))
    assert found == [
        f"custom_{n}_{s}" for n in ("an_other", "mine") for s in ("dev", "test", "train")
    ]


def test_a_value_of_two_words_is_not_taken_by_half() -> None:
    command = ["bash", "local/data.sh", "--corpus", "custom", "--language", "Kisa", "Ngasa"]
    done = subprocess.run(command, cwd=RECIPE, text=True, capture_output=True)
    assert done.returncode == 2
    assert "Ngasa belongs to no option" in done.stderr and "Kisa_Ngasa" in done.stderr


def test_a_table_without_recordings_is_for_synthetic_voices(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    from local.custom.prepare import read_custom
    from local.shared.sets import prepare_sets
    from local.shared.speak import speak_corpus

    shutil.rmtree(root / "wavs")
    rows = [f"set one/{image}.jpg\tPicture {n} of {image}" for image in range(12) for n in (1, 2)]
    (root / "corpus.tsv").write_text("\n".join(["image\tcaption", *rows, "set one/0.jpg\t"]) + "\n")
    with pytest.raises(DataError, match="recordings not found"):
        read_custom(root)
    corpus = speak_corpus(read_custom(root, speak=True), tmp_path / "mine_espeak", jobs=1)
    summary = prepare_sets(corpus, tmp_path / "data")
    assert summary.kept == 24 and summary.problems == {"caption without a letter": 1}
    text = read_scp(tmp_path / "data/mine_espeak_dev/text")
    assert text["espeak-set-one-8_1"] == "Picture 2 of 8"


def test_synthetic_voices_need_a_table_with_captions(root: Path) -> None:
    from local.custom.prepare import read_custom

    with pytest.raises(DataError, match=r"needed: image, caption; possible: wav, split"):
        read_custom(root, speak=True)
    (root / "corpus.tsv").unlink()
    with pytest.raises(DataError, match=r"say the captions of a \.tsv file"):
        read_custom(root, speak=True)
