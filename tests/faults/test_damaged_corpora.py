"""Corpora with one thing wrong: an error in one sentence, or the rest as if nothing had happened.

Whatever a preparation leaves out, or makes otherwise than of the clean corpus, has to be named.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from espnet_plugin.data.datadir import problems
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora.conftest import Flickr8k, SpokenCoco, write_picture

SPLITS = ("train", "dev", "test")
ANYTHING = "anything but a traceback"  # what the damaged entry becomes is not ours to say


def prepare_any(corpus, data: Path) -> dict[str, tuple[str, ...]]:
    """What was made of each recording: set, picture, caption, speaker."""
    from local.custom.prepare import read_custom
    from local.flickr8k.prepare import read_flickr8k
    from local.shared.sets import prepare_sets
    from local.spokencoco.prepare import read_spokencoco

    if isinstance(corpus, Flickr8k):
        read = read_flickr8k(corpus.root)
    elif isinstance(corpus, SpokenCoco):
        read = read_spokencoco(corpus.root, corpus.mscoco)
    else:
        read = read_custom(corpus)
    prepare_sets(read, data)
    made = {}
    for split in SPLITS:
        directory = data / f"{read.name}_{split}"
        assert problems(directory) == []
        names = ("wav.scp", "image.scp", "utt2image", "text", "utt2spk")
        wavs, pictures, image_of, texts, speakers = (read_scp(directory / name) for name in names)
        for utterance, file in wavs.items():
            picture = pictures[image_of[utterance]]
            result = (split, picture, texts[utterance], speakers[utterance])
            assert made.setdefault(os.path.normpath(file), result) == result
    return made


def check_against_clean(corpus, damage: Callable, tmp_path: Path, message: str | None) -> None:
    clean = prepare_any(corpus, tmp_path / "clean")
    damage(corpus)
    try:
        found = prepare_any(corpus, tmp_path / "data")
    except DataError as error:
        assert message, f"not expected: {error}"
        assert message in str(error)
        return
    (summary,) = (tmp_path / "data" / "local").glob("*/summary.txt")
    lists = [summary, *(tmp_path / "data").glob("*/skipped.tsv")]
    told = "".join(path.read_text() for path in lists)
    different = {file for file in clean.keys() | found.keys() if clean.get(file) != found.get(file)}
    if message is ANYTHING:
        assert len(different) <= 1
        return
    assert message is None or message in told, told
    for file in different:
        picture = (clean.get(file) or found[file])[1]
        # the damaged recording itself is named by what the list says now
        assert f"\t{file}\t" in told or f"\t{picture}\t" in told or file not in found, told
    assert len(clean.keys() - found.keys()) <= max(1, len(told.splitlines()) // 2)


# ------------------------------------------------------------------------------------- Flickr8k

TOKENS, WAV2CAPT, WAV2SPK = (
    "Flickr8k_text/Flickr8k.token.txt",
    "flickr_audio/wav2capt.txt",
    "flickr_audio/wav2spk.txt",
)
TRAIN_LIST = "Flickr8k_text/Flickr_8k.trainImages.txt"


def edit(name: str, change: Callable[[str], str]) -> Callable[[Flickr8k], None]:
    def damage(corpus: Flickr8k) -> None:
        path = corpus.root / name
        text = path.read_bytes().decode()
        changed = change(text)
        assert changed != text
        path.write_bytes(changed.encode("utf-8", "surrogatepass"))

    return damage


def replaced(name: str, old: str, new: str) -> Callable[[Flickr8k], None]:
    return edit(name, lambda text: text.replace(old, new, 1))


def added(name: str, line: str) -> Callable[[Flickr8k], None]:
    return edit(name, lambda text: text + line + "\n")


def wav(name: str, change: Callable[[Path], object]) -> Callable[[Flickr8k], object]:
    return lambda corpus: change(corpus.wav(name))


FLICKR8K = {
    "a caption twice": (added(TOKENS, "t1_a.jpg#0\tA dog \r of t1_a number 0 ."), "listed again"),
    "two recordings of a caption": (
        added(WAV2CAPT, "t1_a_9.wav t1_a.jpg #0"),
        "its id is listed with something else",
    ),
    "a recording of two captions": (
        replaced(WAV2CAPT, "t1_a_1.wav", "t1_a_0.wav"),
        "recording of another utterance, too",
    ),
    "a recording listed twice": (added(WAV2CAPT, "t1_a_0.wav t1_a.jpg #0"), "listed again"),
    "a recording of no caption": (added(WAV2CAPT, "z_0.wav z.jpg #0"), "Flickr8k.token.txt: 1,"),
    "a superscript number": (replaced(WAV2CAPT, "#1", "#\u00b2"), "expected <recording> <image>"),
    "two columns in wav2capt": (replaced(WAV2CAPT, " #1", ""), "expected <recording> <image>"),
    "a speaker too few": (replaced(WAV2SPK, "t1_a_1.wav 1", "t1_a_1.wav"), "<speaker>, found"),
    "two speakers": (added(WAV2SPK, "t1_a_1.wav 7"), "t1_a_1.wav has two speakers"),
    "a mark in the pictures": (edit(TRAIN_LIST, lambda text: "\ufeff" + text), None),
    "joined lists": (replaced(TRAIN_LIST, "t2_a", "\ufefft2_a"), None),
    "a picture twice in a list": (added(TRAIN_LIST, "t1_a.jpg"), None),
    "other line ends": (edit(TRAIN_LIST, lambda text: text.replace("\n", "\r\n")), None),
    "empty lines": (edit(TRAIN_LIST, lambda text: text.replace("\n", "\n\n")), None),
    "an empty caption": (replaced(TOKENS, "A dog \r of t1_a number 0 .", ""), "caption is empty"),
    "control characters": (
        replaced(TOKENS, "A dog \r of t1_a number 0 .", "\x01\x07\x7f"),
        "caption is empty",
    ),
    "a line separator": (replaced(TOKENS, "A dog \r of t1_a", "A dog \u2028 of\x85t1_a"), None),
    "half a surrogate": (replaced(TOKENS, "A dog", "\ud800"), "not UTF-8"),
    "Latin-1": (
        lambda c: (c.root / TOKENS).write_bytes((c.root / TOKENS).read_bytes() + b"\xe9\n"),
        "not UTF-8",
    ),
    "UTF-16": (
        lambda c: (c.root / TRAIN_LIST).write_bytes("t1_a.jpg\n".encode("utf-16")),
        "not UTF-8",
    ),
    "a picture outside": (
        replaced(TOKENS, "t1_a.jpg#0", "../../outside.jpg#0"),
        "expected <image>.jpg#<n>",
    ),
    "a recording outside": (
        replaced(WAV2CAPT, "t1_a_0.wav", "../../../outside.wav"),
        "recording outside the corpus's folder",
    ),
    "a NUL in a name": (replaced(WAV2CAPT, "t1_a_0.wav", "a\0.wav"), "recording missing"),
    "a missing recording": (wav("t1_a_0.wav", Path.unlink), "recording missing"),
    "a missing picture": (lambda c: c.picture("t1_a.jpg").unlink(), "image missing"),
    "a folder as list": (
        lambda c: ((c.root / TRAIN_LIST).unlink(), (c.root / TRAIN_LIST / "x").mkdir(parents=True)),
        "a folder, not a file",
    ),
}


@pytest.mark.parametrize("kind", FLICKR8K)
def test_flickr8k(flickr8k: Flickr8k, tmp_path: Path, kind: str) -> None:
    damage, message = FLICKR8K[kind]
    check_against_clean(flickr8k, damage, tmp_path, message)


# ----------------------------------------------------------------------------------- SpokenCOCO


def caption(**values) -> Callable[[SpokenCoco], None]:
    """Changes the first caption of the first picture; a value of ... takes the key away."""

    def damage(corpus: SpokenCoco) -> None:
        path = corpus.root / "SpokenCOCO_train.json"
        content = json.loads(path.read_text())
        first = content["data"][0]["captions"][0] | values
        content["data"][0]["captions"][0] = {k: v for k, v in first.items() if v is not ...}
        path.write_text(json.dumps(content))

    return damage


def record(change: Callable[[list], object]) -> Callable[[SpokenCoco], None]:
    def damage(corpus: SpokenCoco) -> None:
        path = corpus.root / "SpokenCOCO_train.json"
        content = json.loads(path.read_text())
        change(content["data"])
        path.write_text(json.dumps(content))

    return damage


def raw(content: str | bytes) -> Callable[[SpokenCoco], object]:
    data = content.encode() if isinstance(content, str) else content
    return lambda corpus: (corpus.root / "SpokenCOCO_train.json").write_bytes(data)


SPOKENCOCO = {
    "null as caption": (caption(text=None), "caption is not a text"),
    "an empty caption": (caption(text=" \u2028 "), "caption is empty"),
    "half a surrogate": (caption(text="\ud800"), ANYTHING),
    "a long caption": (caption(text="A DOG NUMBER 0 IN PICTURE 9" + " " * 200_000), None),
    "null as recording": (caption(wav=None), "caption 0 names no recording"),
    "a recording outside": (caption(wav="../outside.wav"), "outside the corpus's folder"),
    "a way round inside": (caption(wav="wavs/../wavs/train/0/m0-9_0.wav"), None),
    "null as speaker": (
        record(lambda data: data[0]["captions"][0].update(text=None, speaker=None)),
        "caption is not a text",
    ),
    "a text as captions": (record(lambda data: data[0].update(captions="x")), "record 0"),
    "null as picture": (record(lambda data: data[0].update(image=None)), "record 0"),
    "a picture elsewhere": (record(lambda data: data[0].update(image="../x.jpg")), "is in none of"),
    "deep nesting": (raw('{"data": ' + "[" * 100_000 + "]" * 100_000 + "}"), "SpokenCOCO_train"),
    "deep objects": (raw('{"data": [' + '{"a":' * 50_000), "SpokenCOCO_train"),
    "no JSON": (raw("x"), "not a JSON file"),
    "an empty file": (raw(""), "empty: SpokenCOCO_train.json"),
    "UTF-16": (raw('{"data": []}'.encode("utf-16")), "not a JSON file"),
}


@pytest.mark.parametrize("kind", SPOKENCOCO)
def test_spokencoco(spokencoco: SpokenCoco, tmp_path: Path, kind: str) -> None:
    damage, message = SPOKENCOCO[kind]
    check_against_clean(spokencoco, damage, tmp_path, message)


# ------------------------------------------------------------------------------- a corpus's own


def table(old: str, new: str) -> Callable[[Path], object]:
    def damage(root: Path) -> None:
        path = root / "corpus.tsv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return damage


ROW = "0-0.wav\t0.jpg\ttrain\tAda\tcaption 0 of 0\n"

CUSTOM = {
    "a picture above": (table("0-0.wav\t0.jpg", "0-0.wav\t.."), "image outside"),
    "a picture outside": (
        table("0-0.wav\t0.jpg", "0-0.wav\t../../0.jpg"),
        "image outside the corpus's folder",
    ),
    "a long field": (table("caption 0 of 0", " " * 200_000 + "caption 0 of 0"), None),
    "a column too few": (table(ROW, "0-0.wav\n"), "columns: 1 instead of 5"),
    "a column too many": (table(ROW, ROW[:-1] + "\tx\n"), "columns: 6 instead of 5"),
    "a header twice": (table("speaker", "wav"), "the header is"),
    "a folder beside the table": (lambda root: (root / "x.tsv").mkdir(), None),
    "a folder as table": (
        lambda root: ((root / "corpus.tsv").unlink(), (root / "corpus.tsv").mkdir()),
        "looked for one .tsv file",
    ),
    "two tables": (
        lambda root: shutil.copy(root / "corpus.tsv", root / "b.tsv"),
        "looked for one .tsv file",
    ),
    "one id of two pictures": (
        lambda root: (
            write_picture(root / "images" / "0.png"),
            table("0-0.wav\t0.jpg", "0-0.wav\t0.png")(root),
        ),
        "would have the same id",
    ),
    "quotes": (table("caption 0 of 0", '"caption 0 of 0'), ANYTHING),
}


@pytest.mark.parametrize("kind", CUSTOM)
def test_custom(custom: Path, tmp_path: Path, kind: str) -> None:
    damage, message = CUSTOM[kind]
    check_against_clean(custom, damage, tmp_path, message)


def test_files_outside_are_taken_when_that_is_wanted(custom: Path, tmp_path: Path) -> None:
    from local.custom.prepare import read_custom
    from local.shared.sets import prepare_sets

    outside = tmp_path / "elsewhere.wav"
    (custom / "wavs" / "0-0.wav").rename(outside)
    table("0-0.wav", str(outside))(custom)
    summary = prepare_sets(read_custom(custom), tmp_path / "data", allow_outside=True)
    assert not summary.problems
    assert read_scp(tmp_path / "data/custom_train/wav.scp")["0_0"] == str(outside)


def test_a_line_separator_in_a_name(custom: Path, tmp_path: Path) -> None:
    (custom / "wavs" / "0-0.wav").rename(custom / "wavs" / "a\u2028b\x85.wav")
    clean = prepare_any(custom, tmp_path / "clean")
    table("0-0.wav", "a\u2028b\x85.wav")(custom)
    found = prepare_any(custom, tmp_path / "data")
    assert [file.rpartition("/")[2] for file in found.keys() - clean] == ["a\u2028b\x85.wav"]
