"""Recordings of digits in the layouts of Speech Commands, VoxCeleb1 and LibriSpeech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from benchmarks.front_end import digits_superb
from benchmarks.front_end.digits_superb import KEYWORDS, LEXICON
from s3prl_upstream.superb.conf import CONF
from s3prl_upstream.superb.ctc_corpora import librispeech_utterances, read_lexicon
from s3prl_upstream.superb.run import overrides_text


@pytest.fixture
def fsdd(tmp_path: Path) -> Path:
    """Numbers 4, 5 and 10 are a recording of test, of dev and of training."""
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    for speaker in digits_superb.SPEAKERS:
        for digit in range(10):
            for number in (4, 5, 10):
                path = tmp_path / "fsdd" / "recordings" / f"{digit}_{speaker}_{number}.wav"
                soundfile.write(path, np.full(800, 0.1), 8000)
    return tmp_path / "fsdd"


@pytest.fixture(autouse=True)
def strings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings of each set, in the recipe's layout."""
    recipe = tmp_path / "recipe"
    for part in ("train", "dev", "test"):
        data = recipe / "data" / f"digits_{part}"
        data.mkdir(parents=True)
        soundfile.write(recipe / f"{part}.wav", np.zeros(4800), 16000)
        names = [f"{part}_27_{number}" for number in range(4)]
        (data / "wav.scp").write_text("".join(f"{name} {part}.wav\n" for name in names))
        (data / "utt2spk").write_text("".join(f"{name} theo\n" for name in names))
        (data / "words.ctm").write_text(
            "".join(f"{n} 1 0.000 0.100 two\n{n} 1 0.100 0.200 seven\n" for n in names)
        )
    monkeypatch.setattr(digits_superb, "RECIPE", recipe)


def test_each_recording_is_in_its_part(fsdd: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    tasks = yaml.safe_load(digits_superb.make_corpora(fsdd, made).read_text())["tasks"]
    assert list(tasks) == ["KS", "SID", "PR"]
    for options in tasks.values():
        overrides_text(options)  # s3prl can take them
    for digit in KEYWORDS:
        assert len(list((made / "KS" / "train" / digit).iterdir())) == 2 * 6  # training and dev
        names = sorted(path.name for path in (made / "KS" / "test" / digit).iterdir())
        assert names == [f"{KEYWORDS.index(digit)}_{name}_4.wav" for name in digits_superb.SPEAKERS]
    assert {soundfile.info(path).duration for path in made.glob("KS/test/yes/*.wav")} == {1.0}
    lines = (made / "SID" / "iden_split.txt").read_text().splitlines()
    assert "1 id10001/train/0_10.wav" in lines
    assert "3 id10006/test/9_4.wav" in lines
    assert len(lines) == 6 * 10 * 3
    transcript = next(made.glob("PR/test-clean/*/*/*.trans.txt")).read_text()
    assert transcript.endswith(" TWO SEVEN\n")
    for part, number in (("train-clean-100", 4), ("dev-clean", 1), ("test-clean", 4)):
        assert len(librispeech_utterances(made / "PR" / part)) == number


def test_another_folder_is_refused(fsdd: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no recordings of digits"):
        digits_superb.make_corpora(tmp_path, tmp_path / "made")
    with pytest.raises(FileExistsError, match="already exists"):
        digits_superb.make_corpora(fsdd, fsdd)


def test_all_words_have_pronunciations_of_known_phones() -> None:
    phones = (CONF / "vocab" / "phones.txt").read_text().splitlines()
    lexicon = read_lexicon([str(LEXICON)])
    assert lexicon.keys() == set("ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE".split())
    assert all(phone in phones for said in lexicon.values() for phone in said)
