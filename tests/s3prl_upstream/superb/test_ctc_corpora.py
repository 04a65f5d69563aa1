from __future__ import annotations

from pathlib import Path

import pytest

from s3prl_upstream.superb.ctc_corpora import LibriPhoneDataset, SnipsDataset, read_lexicon


class WordTokenizer:
    """As s3prl's of mode "word"."""

    def encode(self, text: str) -> list[str]:
        return text.split(" ")


@pytest.fixture
def librispeech(tmp_path: Path) -> Path:
    folder = tmp_path / "dev-clean" / "7" / "1"
    folder.mkdir(parents=True)
    texts = {"7-1-0000": "RED DOG", "7-1-0001": "A RED DOG", "7-1-0002": "UNKNOWN", "7-1-0003": "A"}
    (folder / "7-1.trans.txt").write_text("".join(f"{k} {v}\n" for k, v in texts.items()))
    for name in list(texts)[:3]:  # the last one has no audio
        (folder / f"{name}.flac").touch()
    (tmp_path / "lexicon.txt").write_text("A AH0\nRED R EH1 D\ndog D AO1 G\nDOG D AA1 G\n")
    return tmp_path


def dataset(root: Path, bucket_size: int) -> LibriPhoneDataset:
    lexicon = [str(root / "lexicon.txt")]
    return LibriPhoneDataset(
        ["dev-clean"], WordTokenizer(), bucket_size, path=str(root), lexicon=lexicon, num_workers=3
    )


def test_phones_of_known_words_longest_first(librispeech: Path) -> None:
    items = dataset(librispeech, 1)
    assert [(path.stem, " ".join(phones)) for path, phones in items.items] == [
        ("7-1-0001", "AH0 R EH1 D D AO1 G"),
        ("7-1-0000", "R EH1 D D AO1 G"),
    ]
    assert items[1][0].stem == "7-1-0000"


def test_buckets_are_windows(librispeech: Path) -> None:
    items = dataset(librispeech, 2)
    assert len(items) == 2
    assert items[0] == items[1] == items.items
    assert type(items[0]) is list


def test_what_is_missing_is_named(librispeech: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gone.txt: no such lexicon"):
        read_lexicon(str(tmp_path / "gone.txt"))
    with pytest.raises(FileNotFoundError, match="test-clean: no such folder of LibriSpeech"):
        LibriPhoneDataset(["test-clean"], None, 1, path=str(librispeech), lexicon=[])
    (librispeech / "lexicon.txt").write_text("CAT K AE1 T\n")
    with pytest.raises(ValueError, match="no utterance with a transcript"):
        dataset(librispeech, 1)


def test_snips(tmp_path: Path) -> None:
    (tmp_path / "all.iob.snips.txt").write_text(
        "Joey-1 BOS play red\x85song EOS\tO O B-artist I-artist O PlayMusic\n"
        "Kim-2 BOS stop EOS\tO O O Stop\n",
        encoding="utf-8",
    )
    for name in ("Joey-1", "Kim-2", "Joey-untranscribed"):
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train" / f"{name}.wav").touch()

    class Tokenizer:
        def encode(self, text: str) -> list[str]:
            return text.split("\t")

    items = SnipsDataset(["train"], Tokenizer(), 1, path=str(tmp_path), train_speakers=["Joey"])
    assert [(path.stem, text) for path, text in items.items] == [
        ("Joey-1", ["BOS PLAY RED\x85SONG EOS", "O O artist artist O PlayMusic"])
    ]
    assert len(SnipsDataset(["train"], Tokenizer(), 1, path=str(tmp_path))) == 2
