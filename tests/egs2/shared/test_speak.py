from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from local.shared.sets import prepare_sets
from local.shared.speak import script_of, speak_corpus, varieties, voices_of_splits
from local.shared.spoken_captions import Corpus, SpokenCaption

from espnet_plugin.data.skipped import read_skipped
from espnet_plugin.evaluation.alignments import read_ctm
from espnet_plugin.utils.errors import DataError

pytest.importorskip("espeakng_loader")


def corpus_of(root: Path, captions: Sequence[SpokenCaption]) -> Corpus:
    return Corpus("photos", [root], captions, "Look again.")


@pytest.fixture
def captions(tmp_path: Path) -> list[SpokenCaption]:
    """A caption of one image for each set, which nobody has read aloud."""
    (tmp_path / "image.png").write_bytes(b"not opened here")
    return [
        SpokenCaption(
            split=split,
            utterance=f"{split}_0",
            image=split,
            recording="",
            image_file=str(tmp_path / "image.png"),
            caption=f'A dog , of {split} , in " the grass " .',
        )
        for split in ("train", "dev", "test")
    ]


def test_synthetic_voices_say_what_nobody_said(
    captions: list[SpokenCaption], tmp_path: Path
) -> None:
    folder = tmp_path / "photos_espeak_seed3"
    spoken = speak_corpus(corpus_of(tmp_path, captions), folder, jobs=1)
    summary = prepare_sets(spoken, tmp_path / "data")
    assert summary.kept == 3 and not summary.problems
    for split in ("train", "dev", "test"):
        directory = tmp_path / "data" / f"photos_espeak_seed3_{split}"
        utterance, speaker = (directory / "utt2spk").read_text().split()
        assert utterance == f"espeak-{split}_0" and speaker.startswith("espeak-en")
        assert (directory / "text").read_text() == f"{utterance} {captions[0].caption}\n".replace(
            "train", split
        )
        words = read_ctm(directory / "words.ctm")[utterance]
        assert [word.word for word in words] == ["A", "dog", "of", split, "in", "the", "grass"]
        seconds = soundfile.info(folder / "wavs" / f"{utterance}.wav").duration
        assert 0 < words[-1].span[0] < words[-1].span[1] <= seconds
    assert "train: captions by eSpeak NG: 1 (1 synthetic voice), by people: 0" in summary.lines()


def test_a_seed_repeats_and_another_one_differs(
    captions: list[SpokenCaption], tmp_path: Path
) -> None:
    made = {}
    for name in ("a/x_espeak_seed1", "b/x_espeak_seed1", "c/x_espeak_seed2"):
        folder = tmp_path / name
        speak_corpus(corpus_of(tmp_path, captions), folder, jobs=2)
        made[name[0]] = [path.read_bytes() for path in sorted((folder / "wavs").iterdir())]
    assert made["a"] == made["b"] != made["c"]
    alone = speak_corpus(corpus_of(tmp_path, captions[1:]), tmp_path / "x_espeak_seed1", jobs=1)
    both = speak_corpus(corpus_of(tmp_path, captions), tmp_path / "a/x_espeak_seed1", jobs=1)
    assert [c.speaker for c in alone.captions] == [c.speaker for c in both.captions][1:]


def test_no_voice_is_heard_in_two_sets() -> None:
    voices = voices_of_splits(0)
    assert {split: len(names) for split, names in voices.items()} == {
        "train": 84,
        "dev": 10,
        "test": 10,
    }
    assert len(set().union(*voices.values())) == 104
    assert voices["test"] != voices_of_splits(1)["test"]


def test_dev_and_test_have_people_or_synthetic_voices_and_training_may_mix(
    captions: list[SpokenCaption], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "person.wav", np.zeros(1600), 16000)
    by_person = [
        replace(c, utterance=f"{c.split}_1", recording=str(tmp_path / "person.wav"))
        for c in captions
        if c.split != "test"
    ]
    spoken = speak_corpus(corpus_of(tmp_path, [*captions, *by_person]), tmp_path / "x", jobs=1)
    assert [c.utterance for c in spoken.captions if c.recording] == [
        "espeak-train_0",
        "espeak-test_0",
        "train_1",
        "dev_1",
    ]
    assert spoken.notes[0].endswith("by people: 1") and spoken.notes[2].endswith("by people: 0")


def test_what_cannot_be_said_is_listed(captions: list[SpokenCaption], tmp_path: Path) -> None:
    # one of eight in Cyrillic is not enough for a second script of a language
    odd = [replace(captions[0], utterance=f"train_{n}") for n in range(1, 5)]
    texts = ["7 . 5 ?", "", "собака бежит", "ʻ"]
    odd = [replace(c, caption=text) for c, text in zip(odd, texts, strict=True)]
    more = [replace(captions[0], utterance=f"train_more{n}") for n in range(3)]
    spoken = speak_corpus(corpus_of(tmp_path, [*captions, *odd, *more]), tmp_path / "x", jobs=1)
    prepare_sets(spoken, tmp_path / "data")
    rows = read_skipped(tmp_path / "data/x_train")
    assert {row.utterance: row.problem for row in rows} == {
        "espeak-train_1": "caption without a letter",
        "espeak-train_2": "caption without a letter",
        "espeak-train_3": "caption in another script (cyrillic)",
        "espeak-train_4": "caption in another script (modifier)",
    }


def test_a_language_has_its_voices_or_its_nearest_is_named() -> None:
    assert len(varieties("")) == len(varieties("en")) == len(varieties("eng")) == 8
    assert varieties("sw") == ("sw",) and varieties("en_US") == ("en-us",)
    with pytest.raises(DataError, match=r"no voice for the language 'Swahli'.*sw \(Swahili\)"):
        varieties("Swahli")
    with pytest.raises(DataError, match=r"'zzqqxx'. It speaks: af, am, an, ar"):
        varieties("zzqqxx")


def test_captions_that_clip_cannot_read_are_no_text(
    captions: list[SpokenCaption], tmp_path: Path
) -> None:
    captions[0] = replace(captions[0], language="sw", caption="mbwa mwekundu")
    spoken = speak_corpus(corpus_of(tmp_path, captions), tmp_path / "x", jobs=1)
    summary = prepare_sets(spoken, tmp_path / "data")
    assert not (tmp_path / "data/x_dev/text").exists()
    assert "captions in sw: CLIP cannot read them" in summary.lines()[-2]
    words = read_ctm(tmp_path / "data/x_train/words.ctm")["espeak-train_0"]
    assert [word.word for word in words] == ["mbwa", "mwekundu"]


def test_without_the_synthesiser_its_extra_is_named(
    captions: list[SpokenCaption], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match=r"pip install espeakng-loader \(extra: speak\)"):
        speak_corpus(corpus_of(tmp_path, captions), tmp_path / "x", jobs=1)


def test_japanese_is_one_script() -> None:
    assert script_of("犬が公園でボールを") == "CJK"
    assert script_of("кот on") == "CYRILLIC" and script_of("… 12 🙂") == ""
