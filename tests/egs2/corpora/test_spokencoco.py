from __future__ import annotations

import json
from pathlib import Path

import pytest

from espnet_plugin.data.datadir import problems
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError
from tests.egs2.corpora.conftest import SpokenCoco


def prepare(corpus: SpokenCoco, data: Path):
    from local.shared.sets import prepare_sets
    from local.spokencoco.prepare import read_spokencoco

    return prepare_sets(read_spokencoco(corpus.root, corpus.mscoco), data)


def test_karpathys_splits_across_both_folders(spokencoco: SpokenCoco, tmp_path: Path) -> None:
    summary = prepare(spokencoco, tmp_path / "data")
    # restval joins the training set; one of its pictures has six captions
    assert {split: len(items) for split, items in summary.sets.items()} == {
        "train": 21, "dev": 5, "test": 5
    }  # fmt: skip
    assert any(line.split()[:3] == ["train", "4", "(113,287)"] for line in summary.lines())
    assert summary.outside == 5
    train = tmp_path / "data" / "spokencoco_train"
    assert problems(train) == []
    key = "COCO_val2014_000000000042_5"
    assert read_scp(train / "text")[key] == "A DOG NUMBER 5 IN PICTURE 42"
    assert read_scp(train / "utt2spk")[key] == "m5"
    assert read_scp(train / "wav.scp")[key].endswith("wavs/val/0/m5-42_5.wav")
    picture = read_scp(train / "image.scp")["COCO_val2014_000000000042"]
    assert picture.endswith("mscoco/val2014/COCO_val2014_000000000042.jpg")


def test_splits_in_three_files(spokencoco: SpokenCoco, tmp_path: Path) -> None:
    first = prepare(spokencoco, tmp_path / "first")
    (spokencoco.mscoco / "dataset_coco.json").unlink()
    folder = spokencoco.root / "ksplit"
    folder.mkdir()
    members = {
        "train": ["train2014/COCO_train2014_000000000009.jpg"]
        + ["train2014/COCO_train2014_000000000025.jpg"]
        + ["train2014/COCO_train2014_000000000030.jpg"]
        + ["val2014/COCO_val2014_000000000042.jpg"],
        "val": ["val2014/COCO_val2014_000000000073.jpg"],
        "test": ["val2014/COCO_val2014_000000000074.jpg"],
    }
    for split, images in members.items():
        records = [{"image": image, "caption": "a dog"} for image in images]
        path = folder / f"SpokenCOCO_ksplit_{split}.json"
        path.write_text(json.dumps({"data": records}))
    second = prepare(spokencoco, tmp_path / "second")
    assert first.sets == second.sets


def test_the_full_stop_of_a_caption_stays(spokencoco: SpokenCoco, tmp_path: Path) -> None:
    path = spokencoco.root / "SpokenCOCO_val.json"
    path.write_text(path.read_text().replace("PICTURE 42", "PICTURE\\u2028 42 . "))
    prepare(spokencoco, tmp_path / "data")
    text = read_scp(tmp_path / "data" / "spokencoco_train" / "text")
    assert text["COCO_val2014_000000000042_5"] == "A DOG NUMBER 5 IN PICTURE 42 ."


def without_splits(corpus: SpokenCoco) -> None:
    (corpus.mscoco / "dataset_coco.json").unlink()


def one_split_missing(corpus: SpokenCoco) -> None:
    (corpus.mscoco / "dataset_coco.json").unlink()
    (corpus.root / "SpokenCOCO_ksplit_train.json").write_text('{"data": []}')


def cut_off(corpus: SpokenCoco) -> None:
    path = corpus.root / "SpokenCOCO_train.json"
    path.write_text(path.read_text()[:-300])


def other_json(corpus: SpokenCoco) -> None:
    (corpus.root / "SpokenCOCO_train.json").write_text('{"info": {}, "images": []}')


def no_val_pictures(corpus: SpokenCoco) -> None:
    (corpus.mscoco / "val2014").rename(corpus.mscoco / "val2017")


def no_recordings(corpus: SpokenCoco) -> None:
    (corpus.root / "wavs").rename(corpus.root / "audio")


def no_list(corpus: SpokenCoco) -> None:
    (corpus.root / "SpokenCOCO_val.json").unlink()


def wrong_splits(corpus: SpokenCoco) -> None:
    (corpus.mscoco / "dataset_coco.json").write_text('{"images": [{"filename": "1.jpg"}]}')


@pytest.mark.parametrize(
    "damage, message",
    [
        (without_splits, "Karpathy's splits .*ksplit/SpokenCOCO_ksplit_train.json.*dataset_coco"),
        (one_split_missing, "not found; looked for: SpokenCOCO_ksplit_val.json"),
        (cut_off, "SpokenCOCO_train.json: .*download it again"),
        (other_json, 'has no "data" that is a list; its keys are info, images'),
        (no_val_pictures, "images val2014 not found; looked for: val2014.*train2014/, val2017/"),
        (no_recordings, "recordings not found; looked for: wavs in"),
        (no_list, "SpokenCOCO_val.json"),
        (wrong_splits, "record 0 names no image or no split"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(
    spokencoco: SpokenCoco, tmp_path: Path, damage, message: str
) -> None:
    damage(spokencoco)
    with pytest.raises(DataError, match=message):
        prepare(spokencoco, tmp_path / "data")
    assert not list((tmp_path / "data").glob("spokencoco_*/wav.scp"))


def test_unset_folders(spokencoco: SpokenCoco) -> None:
    from local.spokencoco.prepare import read_spokencoco

    with pytest.raises(DataError, match="MSCOCO is not set"):
        read_spokencoco(spokencoco.root, "")
    with pytest.raises(DataError, match="SPOKENCOCO=/nowhere: no such folder"):
        read_spokencoco("/nowhere", spokencoco.mscoco)


def test_captions_may_lack_a_recording_where_synthetic_voices_say_them(
    spokencoco: SpokenCoco,
) -> None:
    from local.spokencoco.prepare import read_spokencoco

    path = spokencoco.root / "SpokenCOCO_val.json"
    records = json.loads(path.read_text())
    del records["data"][0]["captions"][0]["wav"]
    path.write_text(json.dumps(records))
    with pytest.raises(DataError, match=r"record 0: caption 0 names no recording"):
        list(read_spokencoco(spokencoco.root, spokencoco.mscoco).captions)
    corpus = read_spokencoco(spokencoco.root, spokencoco.mscoco, speak=True)
    assert [item.recording for item in corpus.captions].count("") == 1
