from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from espnet_plugin.data.datadir import problems
from espnet_plugin.data.scp import read_scp
from espnet_plugin.data.skipped import read_skipped
from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora.conftest import (
    RECIPE,
    Flickr8k,
    owners_text,
    write_picture,
    write_wav,
)


def prepare(corpus: Flickr8k, data: Path):
    from local.flickr8k.prepare import read_flickr8k
    from local.shared.sets import prepare_sets

    return prepare_sets(read_flickr8k(corpus.root), data)


def test_sets_hold_what_the_owners_say(flickr8k: Flickr8k, tmp_path: Path) -> None:
    summary = prepare(flickr8k, tmp_path / "data")
    for split, images in flickr8k.splits.items():
        directory = tmp_path / "data" / f"flickr8k_{split}"
        assert problems(directory) == []
        text = read_scp(directory / "text")
        assert list(text) == sorted(f"{image}_{n}" for image in images for n in range(5))
        assert text[f"{images[0]}_3"] == f"A dog of {images[0]} number 3"
        assert read_scp(directory / "utt2spk")[f"{images[0]}_3"] == "speaker3"
        assert read_scp(directory / "utt2image")[f"{images[0]}_3"] == images[0]
        wav = read_scp(directory / "wav.scp")[f"{images[0]}_3"]
        assert wav == str(flickr8k.wav(f"{images[0]}_3.wav"))
    assert summary.outside == 5
    captions = read_scp(tmp_path / "data" / "local" / "flickr8k" / "captions")
    assert len(captions) == 45 and "odd_a_0" in captions  # all, whatever the split
    text = (tmp_path / "data/local/flickr8k/summary.txt").read_text()
    assert text.startswith("flickr8k: prepared (in brackets: published)\n")
    assert "odd_a.jpg.1 is the image odd_a.jpg (in no split)" in text
    assert text.splitlines()[2].split() == ["train", "4", "(6,000)", "20", "(30,000)", "5"]


def test_missing_files_are_skipped_and_counted(
    flickr8k: Flickr8k, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = flickr8k.wav("t1_a_0.wav")
    gone.unlink()
    flickr8k.wav("t1_a_1.wav").write_bytes(b"")  # stage 2 reads it
    flickr8k.picture("d1_a.jpg").unlink()
    caplog.set_level(logging.INFO)
    summary = prepare(flickr8k, tmp_path / "data")
    assert summary.problems == {"recording missing": 1, "image missing": 5}
    recordings = read_scp(tmp_path / "data/flickr8k_train/wav.scp")
    assert "t1_a_0" not in recordings and "t1_a_1" in recordings
    listed = [
        row for s in ("train", "dev") for row in read_skipped(tmp_path / f"data/flickr8k_{s}")
    ]
    assert len(listed) == 6
    assert listed[0] == ("t1_a_0", str(gone), "recording missing")
    assert "skipped utterances: 6 of 40" in caplog.text
    assert f"the first is t1_a_0 (recording missing: {gone})" in caplog.text


def test_a_picture_that_the_disk_calls_jpg_1_is_found(flickr8k: Flickr8k, tmp_path: Path) -> None:
    flickr8k.picture("odd_a.jpg").rename(flickr8k.picture("odd_a.jpg.1"))
    with (flickr8k.root / "Flickr8k_text/Flickr_8k.trainImages.txt").open("a") as stream:
        stream.write("odd_a.jpg\n")
    for n in range(5):
        write_wav(flickr8k.wav(f"odd_a_{n}.wav"))
    prepare(flickr8k, tmp_path / "data")
    images = read_scp(tmp_path / "data/flickr8k_train/image.scp")
    assert images["odd_a"].endswith("/odd_a.jpg.1")


def test_a_part_of_the_corpus_is_enough_but_is_said(flickr8k: Flickr8k, tmp_path: Path) -> None:
    for n in range(5):
        flickr8k.wav(f"t4_a_{n}.wav").unlink()
    flickr8k.picture("t4_a.jpg").unlink()
    summary = prepare(flickr8k, tmp_path / "data")
    assert (summary.absent, summary.problems, len(summary.sets["train"])) == (5, {}, 15)
    assert any("part of the corpus" in line for line in summary.lines())


def test_lists_may_lie_at_the_top_and_side_files_be_missing(
    flickr8k: Flickr8k, tmp_path: Path
) -> None:
    text = flickr8k.root / "Flickr8k_text"
    for path in list(text.iterdir()):
        path.rename(flickr8k.root / path.name)
    (flickr8k.root / "flickr_audio" / "wav2capt.txt").unlink()
    (flickr8k.root / "flickr_audio" / "wav2spk.txt").unlink()
    summary = prepare(flickr8k, tmp_path / "data")
    assert len(summary.sets["train"]) == 20
    assert set(read_scp(tmp_path / "data/flickr8k_train/utt2spk").values()) == {"unknown"}


def test_recordings_may_lie_at_the_top_with_their_tables(
    flickr8k: Flickr8k, tmp_path: Path
) -> None:
    for path in list((flickr8k.root / "flickr_audio").iterdir()):
        path.rename(flickr8k.root / path.name)
    prepare(flickr8k, tmp_path / "data")
    assert "unknown" not in read_scp(tmp_path / "data/flickr8k_train/utt2spk").values()


def test_files_that_others_put_into_a_set_stay(flickr8k: Flickr8k, tmp_path: Path) -> None:
    prepare(flickr8k, tmp_path / "data")
    alignment = tmp_path / "data" / "flickr8k_test" / "words.ctm"
    alignment.touch()
    prepare(flickr8k, tmp_path / "data")
    assert alignment.exists()


def only_one_split_left(corpus: Flickr8k) -> None:
    for path in corpus.wav("x").parent.glob("e*"):
        path.unlink()


def overlapping(corpus: Flickr8k) -> None:
    path = corpus.root / "Flickr8k_text" / "Flickr_8k.devImages.txt"
    path.write_text(path.read_text() + "t1_a.jpg\n")


def foreign_list(corpus: Flickr8k) -> None:
    (corpus.root / "Flickr8k_text" / "Flickr_8k.devImages.txt").write_text("36979.jpg\n")


def renamed(old: str, new: str):
    return lambda corpus: (corpus.root / old).rename(corpus.root / new)


def emptied(name: str):
    return lambda corpus: (corpus.root / name).write_text("")


def half_downloaded(corpus: Flickr8k) -> None:
    (corpus.root / "flickr_audio").rename(corpus.root / "elsewhere")
    (corpus.root / "flickr_audio.tar.gz.part").write_bytes(b"x")


def csv_captions(corpus: Flickr8k) -> None:
    (corpus.root / "Flickr8k_text" / "Flickr8k.token.txt").write_text("image,caption\n")


@pytest.mark.parametrize(
    "damage, message",
    [
        (only_one_split_left, "no utterance of test can be used"),
        (overlapping, "t1_a is in Flickr_8k.trainImages.txt too"),
        (foreign_list, "images without a caption: 1 of 1, the first is '36979'"),
        (
            renamed("Flicker8k_Dataset", "pictures"),
            r"looked for: Flicker8k_Dataset, .*found there:",
        ),
        (renamed("Flickr8k_text", "x"), "Flickr8k.token.txt, Flickr8k_text/Flickr8k.token.txt"),
        (renamed("flickr_audio", "audio"), "looked for: flickr_audio/wavs"),
        (half_downloaded, "not downloaded to the end: flickr_audio.tar.gz.part"),
        (emptied("Flickr8k_text/Flickr_8k.testImages.txt"), "empty: Flickr8k_text/Flickr_8k.test"),
        (csv_captions, "expected <image>.jpg#<n><tab><caption>"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(
    flickr8k: Flickr8k, tmp_path: Path, damage, message: str
) -> None:
    damage(flickr8k)
    with pytest.raises(DataError, match=message):
        prepare(flickr8k, tmp_path / "data")
    assert not list((tmp_path / "data").glob("flickr8k_*/wav.scp"))  # no half data directory
    assert not list((tmp_path / "data").glob(".*"))


def test_data_sh_takes_the_path_from_the_environment(flickr8k: Flickr8k, tmp_path: Path) -> None:
    recipe = tmp_path / "egs2" / "speechclip_plus"
    recipe.mkdir(parents=True)
    (tmp_path / "espnet_plugin").symlink_to(RECIPE.parents[1] / "espnet_plugin")
    for name in ("local", "utils", "path.sh", "db.sh"):
        (recipe / name).symlink_to(RECIPE / name)
    command = ["local/data.sh", "--corpus", "flickr8k", "--nj", "1", "--python", sys.executable]
    environment = {**os.environ, "FLICKR8K": str(flickr8k.root)}
    done = subprocess.run(command, cwd=recipe, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (recipe / "data" / "flickr8k_train" / "wav.scp").is_file()
    subprocess.run([*command, "--data_dir", "other"], cwd=recipe, env=environment, check=True)
    assert (recipe / "other" / "flickr8k_train" / "wav.scp").is_file()
    del environment["FLICKR8K"]
    failed = subprocess.run(command, cwd=recipe, env=environment, text=True, capture_output=True)
    assert failed.returncode == 1
    assert "FLICKR8K is not set" in failed.stderr and "--download true" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.skipif(owners_text() is None, reason="the owners' caption files are not here")
def test_real_captions_and_lists(tmp_path: Path) -> None:
    text = owners_text()
    assert text is not None
    root = tmp_path / "flickr8k"
    root.mkdir()
    (root / "Flickr8k_text").symlink_to(text)
    corpus = Flickr8k(root)
    for split in ("train", "dev", "test"):
        name = (text / f"Flickr_8k.{split}Images.txt").read_text().split()[0]
        write_picture(corpus.picture(name))
        for n in range(5):
            write_wav(corpus.wav(f"{name[:-4]}_{n}.wav"))
    summary = prepare(corpus, tmp_path / "data")
    assert summary.kept == 15 and summary.absent == 39985 and summary.outside == 460
    notes = "\n".join(summary.corpus.notes)
    assert "40,460 (published: 40,460), images: 8,092" in notes
    assert "2258277193_586949ec62.jpg.1 is the image" in notes
    captions = tmp_path / "data" / "local" / "flickr8k" / "captions"
    assert sum(1 for _ in captions.open()) == 40460


def test_synthetic_voices_say_flickr8k_without_recordings(
    flickr8k: Flickr8k, tmp_path: Path
) -> None:
    pytest.importorskip("espeakng_loader")
    shutil.rmtree(flickr8k.root / "flickr_audio")
    data, folder = tmp_path / "data", tmp_path / "flickr8k_espeak"
    command = [sys.executable, "-m", "local.flickr8k.prepare", "--root", str(flickr8k.root)]
    command += ["--data_dir", str(data)]
    refused = subprocess.run(command, cwd=RECIPE, text=True, capture_output=True)
    assert "the recordings of the Flickr Audio Caption Corpus not found" in refused.stderr
    command += ["--speak", str(folder)]
    subprocess.run(command, cwd=RECIPE, check=True, capture_output=True)
    for split, images in flickr8k.splits.items():
        speakers = read_scp(data / f"flickr8k_espeak_{split}/utt2spk")
        assert list(speakers) == sorted(f"espeak-{i}_{n}" for i in images for n in range(5))
        assert all(speaker.startswith("espeak-en") for speaker in speakers.values())
    captions = read_scp(data / "local/flickr8k_espeak/captions")
    assert len(captions) == 45 and "odd_a_0" in captions
