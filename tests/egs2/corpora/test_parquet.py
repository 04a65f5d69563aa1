"""A corpus in Parquet files, as Vaani and AfriMCQA are stored, and in the usual form of the hub."""

from __future__ import annotations

import io
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from espnet_plugin.data.datadir import problems
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora.conftest import recipe_copy

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
MEDIA = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
IMAGES = 24  # by their content, dev and test have some of them
SPLITS = ("train", "dev", "test")
VAANI = {
    "image_of_column": "referenceImage",
    "speaker_column": "speakerID",
    "language_column": "@folder",
}
AFRI_MCQA = {
    "language_column": "@file",
    "image_of_column": "image_id",
    "image_id_column": "id",
}


def sound(number: int, file_format: str = "WAV") -> dict[str, object]:
    """A recording of 0.5 s, unlike those with other numbers."""
    samples = np.random.default_rng(number).standard_normal(8000) * 0.01
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16000, format=file_format)
    return {"bytes": stream.getvalue(), "path": f"clip {number}.{file_format.lower()}"}


def picture(number: int, name: str | None) -> dict[str, object]:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (number, 0, 0)).save(stream, format="PNG")
    return {"bytes": stream.getvalue(), "path": name}


def write(path: Path, columns: Mapping[str, Sequence], group: int = 5) -> None:
    """As ``datasets`` does, in small row groups."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: pyarrow.array(values, MEDIA if name in ("audio", "image") else None)
        for name, values in columns.items()
    }
    parquet.write_table(pyarrow.table(arrays), path, row_group_size=group)


@pytest.fixture
def vaani(tmp_path: Path) -> Path:
    """Two languages with two recordings of each image, in three formats; images in two files."""
    root = tmp_path / "Vaani"
    names = [f"IISc_{number:02d}.png" for number in range(IMAGES)]
    pictures = [picture(number, name) for number, name in enumerate(names)]
    for part, half in enumerate((pictures[:12], pictures[12:])):
        write(root / "images" / f"train-{part:05d}-of-00002.parquet", {"image": half})
    for place, language in enumerate(("Hindi", "Tamil")):
        numbers = range(IMAGES * place, IMAGES * (place + 1))
        formats = ["WAV", "FLAC", "MP3"] * 8
        columns = {
            "audio": [sound(*item) for item in zip(numbers, formats, strict=True)],
            "language": [language] * IMAGES,
            "speakerID": [f"S {number % 4}" for number in numbers],
            "transcript": [None] * IMAGES,
            "referenceImage": [f"images/{name}" for name in names],
        }
        write(root / "audio" / language / "train-00000-of-00001.parquet", columns)
    return root


def prepare(root: Path, data: Path, **options: str):
    from local.custom.prepare import read_custom
    from local.shared.sets import prepare_sets

    layout = {"Vaani": VAANI, "AfriMCQA": AFRI_MCQA}.get(root.name, {})
    corpus = read_custom(root, target=data / "unpacked", **{**layout, **options})
    return prepare_sets(corpus, data)


@pytest.fixture
def usual(tmp_path: Path) -> Path:
    """A file for each split, whose rows have a recording, its image and a caption."""
    root = tmp_path / "usual"
    for place, split in enumerate(("train", "validation", "test")):
        numbers = range(2 * place, 2 * place + 2)
        columns = {
            "audio": [sound(number) for number in numbers],
            "image": [picture(number, None) for number in numbers],
            "sentence": [f"image\u2028{number}." for number in numbers],
        }
        write(root / "data" / f"{split}-00000-of-00001.parquet", columns)
    return root


def tables(data: Path, name: str) -> dict[str, dict[str, str]]:
    """A table of each set."""
    return {path.name: read_scp(path / name) for path in sorted(data.glob("*_*")) if path.is_dir()}


def change(path: Path, column: str, row: int, content: object) -> None:
    table = parquet.read_table(path)
    values = table.column(column).to_pylist()
    values[row] = content
    place = table.schema.get_field_index(column)
    array = pyarrow.array(values, table.schema.field(column).type)
    parquet.write_table(table.set_column(place, column, array), path, row_group_size=5)


def test_vaani_is_unpacked_and_divided_by_its_images(vaani: Path, tmp_path: Path) -> None:
    summary = prepare(vaani, tmp_path / "data")
    assert (summary.kept, summary.problems) == (2 * IMAGES, {})
    images = [set(table.values()) for table in tables(tmp_path / "data", "utt2image").values()]
    assert [len(names) for names in images] == [
        len({item.image for item in summary.sets[split]}) for split in sorted(SPLITS)
    ]
    assert sum(map(len, images)) == len(set().union(*images)) == IMAGES
    for split in SPLITS:
        directory = tmp_path / "data" / f"custom_{split}"
        assert problems(directory, text=False) == []
        assert not (directory / "text").exists()
        languages = read_scp(directory / "utt2lang")
        assert sorted(languages.values()) == sorted(["Hindi", "Tamil"] * (len(languages) // 2))
    assert set(read_scp(directory / "spk2utt")) <= {f"S-{number}" for number in range(4)}
    published = {
        content["bytes"]: name.rpartition("/")[2]
        for path in vaani.glob("audio/*/*")
        for content, name in zip(
            *(parquet.read_table(path)[name].to_pylist() for name in ("audio", "referenceImage")),
            strict=True,
        )
    }
    image_of = tables(tmp_path / "data", "utt2image")
    for name, wavs in tables(tmp_path / "data", "wav.scp").items():
        pictures = read_scp(tmp_path / "data" / name / "image.scp")
        for utterance, file in wavs.items():
            image = published.pop(Path(file).read_bytes())
            assert image_of[name][utterance] == image
            with Image.open(pictures[image]) as shown:
                assert shown.getpixel((0, 0)) == (int(image[5:7]), 0, 0)
            assert soundfile.info(file).frames >= 8000
    assert not published


def test_some_languages(vaani: Path, tmp_path: Path) -> None:
    assert prepare(vaani, tmp_path / "data", languages="Tamil").kept == IMAGES
    languages = tables(tmp_path / "data", "utt2lang").values()
    assert {language for table in languages for language in table.values()} == {"Tamil"}
    with pytest.raises(DataError, match="no recording in Oriya; there are Hindi, Tamil"):
        prepare(vaani, tmp_path / "data", languages="Tamil, Oriya")


def test_files_of_several_languages_have_a_column_for_them(vaani: Path, tmp_path: Path) -> None:
    whole = prepare(vaani, tmp_path / "whole")
    files = [parquet.read_table(path) for path in sorted(vaani.glob("audio/*/*"))]
    district = vaani / "audio" / "Bihar" / "Gaya" / "train-00000-of-00001.parquet"
    district.parent.mkdir(parents=True)
    parquet.write_table(pyarrow.concat_tables(files), district, row_group_size=7)
    for path in vaani.glob("audio/*/*.parquet"):
        path.unlink()
    districts = {"language_column": "language"}
    assert prepare(vaani, tmp_path / "data", **districts).kept == whole.kept
    for name in ("utt2lang", "utt2image", "utt2spk"):
        assert tables(tmp_path / "data", name) == tables(tmp_path / "whole", name)
    assert prepare(vaani, tmp_path / "data", **districts, languages="Hindi").kept == IMAGES


def test_bad_rows_are_skipped_and_counted(
    vaani: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hindi, tamil = sorted(vaani.glob("audio/*/*"))
    change(hindi, "audio", 1, {"bytes": None, "path": "only a name.wav"})
    change(hindi, "audio", 2, None)
    change(hindi, "referenceImage", 3, "images/nowhere.png")
    change(hindi, "referenceImage", 4, None)
    same = parquet.read_table(hindi)["audio"].to_pylist()[6]
    change(hindi, "audio", 7, same)  # about another image
    change(hindi, "audio", 8, sound(7))
    change(hindi, "referenceImage", 8, "IISc_09.png")
    change(hindi, "speakerID", 8, "S 1")
    change(hindi, "audio", 9, sound(7))  # the same again
    images = vaani / "images" / "train-00001-of-00002.parquet"
    change(images, "image", 11, {"bytes": b"", "path": "IISc_23.png"})
    caplog.set_level(logging.INFO)
    summary = prepare(vaani, tmp_path / "data")
    assert summary.problems == {
        "recording missing": 2,
        "image missing": 2 + 2,
        "recording of another utterance, too": 2,
        "listed again": 1,
    }
    assert summary.kept == 2 * IMAGES - 9
    assert any("only a name.wav, recording 1" in row.file for row in summary.skipped["train"])
    assert "24 Hindi, 24 Tamil" in caplog.text and "images: 23, for 44 of 47 names" in caplog.text


USUAL = {"split_column": "@file", "caption_column": "sentence"}


def test_images_beside_their_recordings(usual: Path, tmp_path: Path) -> None:
    assert prepare(usual, tmp_path / "data", **USUAL).kept == 6
    for place, split in enumerate(SPLITS):
        directory = tmp_path / "data" / f"custom_{split}"
        assert problems(directory) == []
        captions, images = read_scp(directory / "text"), read_scp(directory / "image.scp")
        shown = {}
        for utterance, image in read_scp(directory / "utt2image").items():
            with Image.open(images[image]) as opened:
                shown[captions[utterance]] = opened.getpixel((0, 0))[0]
        assert shown == {f"image {n}.": n for n in (2 * place, 2 * place + 1)}


def test_an_image_of_two_splits_is_left_out_of_the_second(usual: Path, tmp_path: Path) -> None:
    file = usual / "data" / "validation-00000-of-00001.parquet"
    change(file, "image", 0, picture(4, None))  # the first of test, which is read before
    summary = prepare(usual, tmp_path / "data", **USUAL)
    assert summary.kept == 5 and summary.problems == {"image of test, too": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recording_files": "data/{split}-*"}, "recording_files is gone: .* --split_column @file"),
        ({"image_files": "images/*"}, "--image_files is gone: .* name --image_of_column"),
        ({"split_column": "@folder"}, "parquet: data is none of train, dev, valid, val"),
        ({"caption_column": "text"}, "no column text; it has @file, @folder, audio, audio.bytes"),
        ({"image_id_column": "id"}, r"without the column audio \(--audio_column\): 0 of 3"),
        ({"image_of_column": "sentence", "audio_column": "x"}, "x .--audio_column.: 3 of 3"),
    ],
)
def test_wrong_options(usual: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(usual, tmp_path / "data", **options)
    assert not (tmp_path / "data").exists()


def test_a_table_has_no_columns_to_name(tmp_path: Path) -> None:
    (tmp_path / "corpus.tsv").touch()
    with pytest.raises(DataError, match="--speaker_column are for folders of Parquet files"):
        prepare(tmp_path, tmp_path / "data", speaker_column="speaker")


def test_a_second_run_writes_nothing_again(vaani: Path, tmp_path: Path) -> None:
    prepare(vaani, tmp_path / "data", languages="Hindi")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "data/unpacked").rglob("*.*")}
    assert len(files) == 2 * IMAGES
    cut = next(path for path in files if path.suffix == ".mp3")
    cut.write_bytes(cut.read_bytes()[:100])  # by a crash of the machine
    prepare(vaani, tmp_path / "data")
    assert all(path.stat().st_mtime_ns == time for path, time in files.items() if path != cut)
    assert cut.stat().st_size > 100
    assert len(list((tmp_path / "data/unpacked/wavs").rglob("*.*"))) == 2 * IMAGES


@pytest.mark.parametrize(
    "name",
    [
        lambda code, number: f"{code}-img-{number}",
        lambda code, number: f"img-{number}",  # of another photograph in each language
        lambda code, number: number + 200 * (code == "yor"),
    ],
    ids=["names", "names of both languages", "numbers"],
)
def test_afri_mcqa_names_images_by_language(name: Callable, tmp_path: Path) -> None:
    """Two languages with images of their own. Their last image is the same photograph."""
    root, shown = tmp_path / "AfriMCQA", {"amh": [*range(23), 255], "yor": [*range(24, 47), 255]}
    for code, numbers in shown.items():
        ids = [name(code, number) for number in range(IMAGES)]
        pictures = [picture(number, f"{number}.png") for number in numbers]
        write(root / f"{code}_images.parquet", {"image": pictures, "id": ids})
        speech = [sound(number + 300 * (code == "yor")) for number in range(IMAGES)]
        write(root / f"{code}_audio.parquet", {"audio": speech, "image_id": ids})
    summary = prepare(root, tmp_path / "data", test_only="true")
    assert summary.kept == 2 * IMAGES and "images: 47, for 48 of 48 names" in summary.lines()
    assert list(tables(tmp_path / "data", "wav.scp")) == ["custom_test"]
    directory = tmp_path / "data/custom_test"
    pictures, languages = read_scp(directory / "image.scp"), read_scp(directory / "utt2lang")
    found: dict[str, list[int]] = {"amh": [], "yor": []}
    for utterance, image in read_scp(directory / "utt2image").items():
        with Image.open(pictures[image]) as opened:
            found[languages[utterance]].append(opened.getpixel((0, 0))[0])
    assert {code: sorted(seen) for code, seen in found.items()} == shown
    one = prepare(root, tmp_path / "one", languages="yor", test_only="true")
    assert one.kept == IMAGES and "images: 24, for 24 of 24 names" in one.lines()


def test_names_that_differ_in_white_space_alone(vaani: Path, tmp_path: Path) -> None:
    images = sorted(vaani.glob("images/*"))
    for number, name in enumerate(("a b.png", "a-b.png")):
        for path in vaani.glob("audio/*/*"):
            change(path, "referenceImage", number, name)
        change(images[0], "image", number, picture(number, name))
    summary = prepare(vaani, tmp_path / "data")
    assert (summary.kept, summary.problems) == (2 * IMAGES, {})
    used = [set(table.values()) for table in tables(tmp_path / "data", "utt2image").values()]
    assert sum(map(len, used)) == len(set().union(*used)) == IMAGES


FOLDERS = ["dogs/1.png", "cats/1.png", *(f"birds/{n}.png" for n in range(2, IMAGES))]


def name_images(vaani: Path, named: Sequence[str], stored: Sequence[str]) -> None:
    """Gives the images and their names in the rows of recordings other paths."""
    for path in vaani.glob("audio/*/*"):
        for number, name in enumerate(named):
            change(path, "referenceImage", number, name)
    for part, path in enumerate(sorted(vaani.glob("images/*"))):
        for number, name in enumerate(stored[12 * part : 12 * part + 12]):
            change(path, "image", number, picture(12 * part + number, name))


def test_images_of_two_folders_stay_two(vaani: Path, tmp_path: Path) -> None:
    name_images(vaani, ["images/" + name for name in FOLDERS], FOLDERS)
    assert prepare(vaani, tmp_path / "data").kept == 2 * IMAGES
    shown = {}
    for table in tables(tmp_path / "data", "image.scp").values():
        for image, file in table.items():
            with Image.open(file) as opened:
                shown[image] = opened.getpixel((0, 0))[0]
    assert shown == {name.replace("/", "-"): number for number, name in enumerate(FOLDERS)}


@pytest.mark.parametrize(
    ("named", "stored", "message"),
    [
        (FOLDERS, [Path(name).name for name in FOLDERS], "two images that differ are called 1.png"),
        (["1.png"], FOLDERS, "the image 1.png may be dogs/1.png or cats/1.png, which differ"),
        (FOLDERS, ["1.png"], "dogs/1.png and cats/1.png would both be the image 1.png"),
    ],
)
def test_names_that_do_not_tell_images_apart(
    vaani: Path, tmp_path: Path, named: list[str], stored: list[str], message: str
) -> None:
    name_images(vaani, named, stored)
    with pytest.raises(DataError, match=f"{message}.*--image_of_column, --image_id_column"):
        prepare(vaani, tmp_path / "data")
    assert not (tmp_path / "data/unpacked/wavs").exists()


def test_an_image_of_another_folder_is_missing(vaani: Path, tmp_path: Path) -> None:
    name_images(vaani, FOLDERS[:2], FOLDERS[:1])
    assert prepare(vaani, tmp_path / "data").problems == {"image missing": 2}


def no_images(root: Path) -> None:
    shutil.rmtree(root / "images")


def other_columns(root: Path) -> None:
    path = next(root.glob("audio/Tamil/*"))
    names = [{"referenceImage": "image"}.get(n, n) for n in parquet.read_schema(path).names]
    parquet.write_table(parquet.read_table(path).rename_columns(names), path)


def audio_outside(root: Path) -> None:
    path = next(root.glob("audio/Tamil/*"))
    names = parquet.read_table(path).set_column(0, "audio", [["a.wav"] * IMAGES])
    parquet.write_table(names, path)


def cut_off(root: Path) -> None:
    path = next(root.glob("audio/Tamil/*"))
    path.write_bytes(path.read_bytes()[:-100])


def pointer(root: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\n"
    (root / "images" / "train-00001-of-00002.parquet").write_text(text)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_images, r"without the column audio \(--audio_column\): 0 of 2; with --image_of"),
        (other_columns, "no column referenceImage; it has .*, audio.bytes, audio.path, language,"),
        (audio_outside, "Tamil/.*no column audio.bytes, audio.path; it has .*, audio, language"),
        (cut_off, "Tamil/train-00000-of-00001.parquet: cannot be read .*download it again"),
        (pointer, "images/train-00001-of-00002.parquet: cannot be read .*download it again"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    vaani: Path, tmp_path: Path, damage, message: str
) -> None:
    damage(vaani)
    with pytest.raises(DataError, match=message):
        prepare(vaani, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_damage_within_a_file_names_it_and_keeps_what_was_unpacked(
    vaani: Path, tmp_path: Path
) -> None:
    path = next(vaani.glob("audio/Tamil/*"))
    parquet.write_table(pyarrow.concat_tables(20 * [parquet.read_table(path)]), path, 5)
    where = parquet.read_metadata(path).row_group(95).column(0)  # the last audio
    content = bytearray(path.read_bytes())
    start = where.dictionary_page_offset or where.data_page_offset
    content[start : start + where.total_compressed_size] = bytes(where.total_compressed_size)
    path.write_bytes(content)
    with pytest.raises(DataError, match="Tamil/train-00000-of-00001.parquet: cannot be read"):
        prepare(vaani, tmp_path / "data")
    assert not list((tmp_path / "data").glob("custom_*"))
    assert len(list((tmp_path / "data/unpacked/wavs").rglob("*.*"))) >= IMAGES


def test_without_pyarrow(vaani: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install pyarrow \(extra: parquet\)"):
        prepare(vaani, tmp_path / "data")


@pytest.mark.slow
def test_the_recipes_first_stages(vaani: Path, tmp_path: Path) -> None:
    here = recipe_copy(tmp_path)
    options = " ".join(f"--{name} {value}" for name, value in VAANI.items())
    command = ["./run.sh", "--corpus", "custom", "--custom_root", str(vaani), "--stop_stage", "2"]
    command += ["--nj", "1", "--ngpu", "0", "--python", sys.executable]
    command += ["--local_data_opts", f"{options} --languages Hindi"]
    done = subprocess.run(command, cwd=here, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    dumped = here / "dump/raw/org/custom_Vaani_train"
    assert set(read_scp(dumped / "utt2lang").values()) == {"Hindi"}
    wavs = read_scp(dumped / "wav.scp")
    assert wavs.keys() == read_scp(dumped / "utt2image").keys()
    for file in wavs.values():
        info = soundfile.info(here / file)
        assert (info.format, info.samplerate, info.channels) == ("FLAC", 16000, 1)
