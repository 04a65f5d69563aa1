"""A corpus without a table: pairs by the names of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora.conftest import write_picture, write_wav


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four pictures, three of them with recordings, in folders of any name."""
    root = tmp_path / "mine"
    for image in ("day 1/0123.jpg", "day 1/0124.JPG", "0123_b.jpg", "spare.jpg"):
        write_picture(root / "photos" / image)
    for recording in ("0123", "0123_a", "0123-b", "0123 (2)", "0124.ada", "0123_b", "0123_b_1"):
        write_wav(root / "sound" / f"{recording}.wav")
    write_wav(root / "0123_c.wav")
    return root


def prepare(root: Path, data: Path, **options):
    from local.custom.prepare import read_custom
    from local.shared.sets import prepare_sets

    return prepare_sets(read_custom(root, **options), data)


def test_a_recording_is_of_the_image_with_the_longest_name_that_fits(
    root: Path, tmp_path: Path
) -> None:
    summary = prepare(root, tmp_path / "data", language="sw")
    assert summary.kept == 8 and not summary.problems
    assert "images without a recording: 1; the first is spare.jpg" in summary.lines()
    image_of = {}
    for split in ("train", "dev", "test"):
        data = tmp_path / "data" / f"custom_{split}"
        assert not (data / "text").exists()
        assert set(read_scp(data / "utt2lang").values()) == {"sw"}
        images, named = read_scp(data / "image.scp"), read_scp(data / "utt2image")
        for utterance, file in read_scp(data / "wav.scp").items():
            assert utterance.startswith(f"{named[utterance]}_")
            image_of[Path(file).stem] = Path(images[named[utterance]]).name
    assert image_of == {
        **dict.fromkeys(("0123", "0123_a", "0123-b", "0123 (2)", "0123_c"), "0123.jpg"),
        **dict.fromkeys(("0123_b", "0123_b_1"), "0123_b.jpg"),
        "0124.ada": "0124.JPG",
    }


def test_what_has_no_image_is_counted_and_listed(root: Path, tmp_path: Path) -> None:
    write_wav(root / "sound" / "01234.wav")
    write_wav(root / "sound" / "hello.wav")
    summary = prepare(root, tmp_path / "data")
    assert summary.kept == 8
    assert summary.problems == {"no image has its name": 2}
    skipped = (tmp_path / "data/custom_train/skipped.tsv").read_text()
    assert "01234.wav" in skipped and "hello.wav" in skipped
    assert not (tmp_path / "data/custom_train/utt2lang").exists()


def test_ten_images_are_split_as_those_of_a_table(tmp_path: Path) -> None:
    for number in range(10):
        write_picture(tmp_path / "mine" / f"{number}.jpg")
        write_wav(tmp_path / "mine" / f"{number}_1.wav")
    prepare(tmp_path / "mine", tmp_path / "data")
    sets = [read_scp(tmp_path / f"data/custom_{s}/image.scp") for s in ("train", "dev", "test")]
    assert [set(images) for images in sets] == [set("01234567"), {"8"}, {"9"}]


@pytest.mark.parametrize(
    "recordings, images, message",
    [
        ("x y z", "a b c", "3 recordings, 3 images and no table: x.wav, y.wav, z.wav, a.jpg. "
         "Images with a recording of their name: 0, but"),
        ("a b b_1", "a b c", "Images with a recording of their name: 2, but train, dev and test"),
        ("a b c", "", "3 recordings, 0 images and no table"),
        ("", "", "0 recordings, 0 images and no table: nothing"),
    ],
)  # fmt: skip
def test_too_few_pairs(tmp_path: Path, recordings: str, images: str, message: str) -> None:
    (tmp_path / "mine").mkdir()
    for name in recordings.split():
        write_wav(tmp_path / "mine" / f"{name}.wav")
    for name in images.split():
        write_picture(tmp_path / "mine" / f"{name}.jpg")
    with pytest.raises(DataError, match=f"{message}.*Name recordings of boat.jpg"):
        prepare(tmp_path / "mine", tmp_path / "data")


def test_two_images_of_one_name(root: Path, tmp_path: Path) -> None:
    write_picture(root / "other" / "spare.png")
    with pytest.raises(DataError, match="spare.jpg: .*spare.png has the same name, so no record"):
        prepare(root, tmp_path / "data")


def test_a_table_may_leave_the_language_to_the_option(root: Path, tmp_path: Path) -> None:
    rows = ["wav\timage\tlanguage"]
    rows += [f"0123_{n}.wav\t{n}.jpg\t{'fr' if n == 'a' else ''}" for n in "abc"]
    (root / "corpus.tsv").write_text("\n".join(rows) + "\n")
    for name in "abc":
        write_wav(root / "wavs" / f"0123_{name}.wav")
        write_picture(root / "images" / f"{name}.jpg")
    prepare(root, tmp_path / "data", language="sw")
    sets = [read_scp(tmp_path / f"data/custom_{s}/utt2lang") for s in ("train", "dev", "test")]
    assert sets == [{"a_0": "fr"}, {"b_0": "sw"}, {"c_0": "sw"}]
