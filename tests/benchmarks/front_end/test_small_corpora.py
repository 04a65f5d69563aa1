from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from benchmarks.front_end import small_superb
from benchmarks.front_end.voices import COLOURS, LEXICON, phrases, read_recordings
from s3prl_upstream.superb.conf import CONF
from s3prl_upstream.superb.ctc_corpora import librispeech_utterances, read_lexicon
from s3prl_upstream.superb.run import overrides_text
from s3prl_upstream.superb.tasks import TASKS

WORD = 0.15  # seconds
THINGS = ("snake", "dog", "cake", "tree", "moon", "star", "bus", "boat", "fish", "house", "clock")
THINGS += ("chair", "crown", "rabbit", "turtle", "pizza")


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mini corpus of 12 voices: tones for words, long enough for speaker verification."""
    root = tmp_path_factory.mktemp("mini")
    (root / "wavs").mkdir()
    captions, alignment = ["utterance\timage\tvoice\tcaption"], []
    pairs = itertools.cycle(itertools.product(COLOURS, THINGS))
    for split, voices, number in (("train", 8, 48), ("dev", 2, 6), ("test", 2, 8)):
        for index in range(number):
            colour, thing = next(pairs)
            words = ["a", colour, thing, *["near"] * 6]
            name = f"{split}_{index:05d}_0"
            captions.append(f"{name}\timage\t{split}+{index % voices}\t{' '.join(words)}")
            for position, word in enumerate(words):
                alignment.append(f"{name} 1 {position * WORD:.3f} {WORD:.3f} {word}")
            tone = 0.1 * np.sin(np.arange(round(len(words) * WORD * 16000)) * 0.1)
            soundfile.write(root / "wavs" / f"{name}.wav", tone, 16000)
    (root / "captions.tsv").write_text("\n".join(captions) + "\n")
    (root / "words.ctm").write_text("\n".join(alignment) + "\n")
    return root


@pytest.fixture(scope="module")
def corpora(mini: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("small")
    small_superb.main([str(mini), str(directory), "--size", "32"])
    return directory


def test_recordings_and_phrases(mini: Path) -> None:
    recordings = read_recordings(mini)
    assert {split: len(found) for split, found in recordings.items()} == {
        "train": 48, "dev": 6, "test": 8
    }  # fmt: skip
    phrase = phrases(recordings["train"])[0]
    assert (phrase.colour, phrase.thing) == ("red", "snake")
    assert len(phrase.samples()) == round(2 * WORD * 16000)
    with pytest.raises(FileNotFoundError, match="not a mini corpus, captions.tsv is missing"):
        read_recordings(mini / "wavs")


def test_every_task_has_data_and_options(mini: Path, corpora: Path) -> None:
    data = yaml.safe_load((corpora / "data.yaml").read_text())
    assert set(data["tasks"]) == set(TASKS)
    for options in data["tasks"].values():
        overrides_text(options)  # s3prl can take them
    with pytest.raises(SystemExit, match="already exists"):
        small_superb.main([str(mini), str(corpora)])


def test_all_words_have_pronunciations_of_known_phones() -> None:
    phones = (CONF / "vocab" / "phones.txt").read_text().splitlines()
    assert all(phone in phones for said in read_lexicon([str(LEXICON)]).values() for phone in said)


def test_librispeech_layout(corpora: Path) -> None:
    lexicon = read_lexicon([str(LEXICON)])
    for part in ("train-clean-100", "dev-clean", "test-clean"):
        utterances = librispeech_utterances(corpora / "PR" / part)
        assert utterances and all(word in lexicon for _, words in utterances for word in words)
        with open(corpora / "ASR" / "len_for_bucket" / f"{part}.csv") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            assert soundfile.info(corpora / "ASR" / row["file_path"]).frames == int(row["length"])


def test_speech_commands_layout(corpora: Path) -> None:
    root = corpora / "KS"
    assert {"yes", "go", "_background_noise_"} <= {path.name for path in (root / "train").iterdir()}
    assert (root / "test" / "_silence_").is_dir()
    files = list((root / "train" / "yes").glob("*_nohash_*.wav"))
    assert files and soundfile.info(files[0]).frames == 16000


def test_fluent_commands_and_iemocap_layouts(corpora: Path) -> None:
    with open(corpora / "IC" / "data" / "train_data.csv") as file:
        row = next(csv.DictReader(file))
    assert (corpora / "IC" / row["path"]).is_file()
    assert f"{row['action']} {row['object']}" == row["transcription"]
    meta = json.loads((corpora / "ER/meta_data/Session1/test_meta_data.json").read_text())
    assert set(meta["labels"]) == {"neu", "hap", "sad", "ang"}
    assert all((corpora / "ER" / entry["path"]).is_file() for entry in meta["meta_data"])


def test_voxceleb_layouts(corpora: Path) -> None:
    for line in (corpora / "SID" / "iden_split.txt").read_text().splitlines():
        part, name = line.split()
        assert part in "123" and (corpora / "SID" / "dev" / "wav" / name).is_file()
    for part, folder in (("dev", "dev"), ("test", "test")):
        trials = (corpora / "ASV" / f"{part}_trials.txt").read_text().splitlines()
        assert {trial[0] for trial in trials} == {"0", "1"}
        for trial in trials:
            same, first, second = trial.split()
            assert (first.split("/")[0] == second.split("/")[0]) == (same == "1")
            assert soundfile.info(corpora / "ASV" / folder / "wav" / first).frames > 32000


def test_kaldi_directories_of_mixtures(corpora: Path) -> None:
    for part in ("train", "dev", "test"):
        folder = corpora / "SD" / part
        durations = dict(line.split() for line in (folder / "reco2dur").read_text().splitlines())
        segments = [line.split() for line in (folder / "segments").read_text().splitlines()]
        assert len(segments) == 2 * len(durations)
        assert all(float(end) <= float(durations[name]) + 0.01 for _, name, _, end in segments)
