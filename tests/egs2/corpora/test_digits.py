"""The digits corpus: who says what, what is joined, what each set may use, and bad folders."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from local.digits import prepare, speech, strings, teacher
from local.digits.teacher import TEACHER, StringSampler
from local.shared.reduced_tokenizer import ReducedTokenizer
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.errors import DataError

NUMBERS = 12  # recordings of each digit by each speaker: five for test, five for dev, two for train


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in the owners' layout, whose samples say who speaks what in which recording."""
    root = tmp_path_factory.mktemp("fsdd") / "free-spoken-digit-dataset-26eb9aa"
    (root / "recordings").mkdir(parents=True)
    for speaker, name in enumerate((*speech.SPEAKERS, *speech.STRANGERS)):
        for digit in range(10):
            for number in range(NUMBERS):
                samples = np.full(400 + 10 * digit, 0.01 * (speaker + 1) + 0.001 * number)
                path = root / "recordings" / f"{digit}_{name}_{number}.wav"
                soundfile.write(path, samples, 8000)
    return root.parent


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "REPEATS", NUMBERS)


def test_every_triple_is_in_one_split() -> None:
    drawn = strings.draw_strings(0)
    others = [string for string in drawn["dev"] if len(string) != 3]
    triples = [*drawn["train"], *(set(drawn["dev"]) - set(others)), *drawn["test"]]
    assert sorted(triples) == [f"{number:03d}" for number in range(1000)]
    assert Counter(map(len, others)) == strings.OTHER_LENGTHS
    assert len(set(drawn["dev"])) == len(drawn["dev"])
    assert set(others).isdisjoint(drawn["five"])
    assert drawn["strangers"] == drawn["test"]
    assert {len(string) for string in drawn["five"]} == {5}
    assert len(set(drawn["five"])) == strings.FIVE
    assert strings.draw_strings(1) != drawn


def test_no_two_splits_share_handwriting() -> None:
    seen = [
        image.tobytes()
        for split in ("train", "dev", "test")
        for images in strings.handwriting(split, 0).values()
        for image in images
    ]
    assert len(seen) == 1797
    assert len(seen) - len(set(seen)) < 5  # scikit-learn's own copies


def test_a_string_is_written_from_left_to_right() -> None:
    images = {"1": np.ones((1, 8, 8)), "0": np.zeros((1, 8, 8))}
    picture = np.asarray(strings.paint("100", images, np.random.default_rng(0), size=48))
    dark = (picture.sum(axis=2) < 300).any(axis=0)  # columns with ink
    assert dark[3:15].all()
    assert not dark[20:].any()


def test_joined_recordings_have_their_boundaries(fsdd: Path) -> None:
    files = [next(fsdd.glob(f"*/recordings/{digit}_theo_0.wav")) for digit in (3, 8)]
    quiet = [0.1, 0.2, 0.0]
    samples, words = speech.join(files, ["three", "eight"], quiet, speed=1.0)
    assert len(samples) == 1600 + 860 + 3200 + 960  # 8 kHz to 16 kHz
    three, eight = (0.1, 0.1 + 430 / 8000), (0.3 + 430 / 8000, 0.3 + 910 / 8000)
    assert words == [("three", *map(pytest.approx, three)), ("eight", *map(pytest.approx, eight))]
    assert not samples[:1600].any() and not samples[2460:5660].any()
    fast, _ = speech.join(files, ["three", "eight"], [0.0] * 3, speed=1.25)
    assert len(fast) == pytest.approx((860 + 960) / 1.25, abs=2)


def test_training_has_noise_of_ten_to_forty_decibels(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    tone = np.sin(0.05 * np.arange(16000))
    monkeypatch.setattr(speech, "TILT", 0.0)
    for _ in range(20):
        noise = speech.vary(tone, rng) - tone
        decibels = -10 * np.log10(np.mean(noise**2) / np.mean(tone**2))
        assert 9.5 < decibels < 40.5


def test_training_raises_or_lowers_high_tones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "SIGNAL_TO_NOISE", (200.0, 200.0))
    tones = [np.sin(frequency * np.arange(16000)) for frequency in (0.05, 3.0)]
    ratios = []
    for seed in range(20):
        low, high = (speech.vary(t, np.random.default_rng(seed)).std() for t in tones)
        ratios.append(high / low)
    assert 0.24 < min(ratios) < 0.7  # (1 - 0.6) / (1 + 0.6) at the lowest
    assert 1.4 < max(ratios) < 4.1


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_sets_use_their_own_recordings_and_speakers(
    fsdd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"train": ["012", "345"], "dev": ["678"], "test": ["901"]}
    few |= {"strangers": few["test"], "five": ["97531"]}
    monkeypatch.setattr(prepare, "draw_strings", lambda seed: few)
    monkeypatch.setattr(speech, "vary", lambda samples, rng: samples)
    options = ["--root", str(fsdd), "--data_dir", str(tmp_path / "data")]
    prepare.main([*options, "--target", str(tmp_path / "made")])
    before = contents(tmp_path)
    prepare.main([*options, "--target", str(tmp_path / "other"), "--name", "digits_seed1"])
    assert before.items() <= contents(tmp_path).items()
    other = read_scp(tmp_path / "data" / "digits_seed1_test" / "utt2recordings")
    assert other != read_scp(tmp_path / "data" / "digits_test" / "utt2recordings")
    sets = {name: tmp_path / "data" / f"digits_{name}" for name in few}
    spoken = {name: read_scp(folder / "text") for name, folder in sets.items()}
    assert set(spoken["five"].values()) == {"nine seven five three one"}
    assert len(spoken["train"]) == 2 * speech.UTTERANCES
    for name, folder in sets.items():
        speakers = set(read_scp(folder / "utt2spk").values())
        assert speakers <= set(speech.STRANGERS if name == "strangers" else speech.SPEAKERS)
        ends = {}
        for line in (folder / "words.ctm").read_text().splitlines():
            utterance, _, start, duration, _ = line.split()
            ends[utterance] = float(start) + float(duration)
        made_of = read_scp(folder / "utt2recordings")
        assert made_of.keys() == spoken[name].keys()
        for utterance, names in made_of.items():
            speaker = read_scp(folder / "utt2spk")[utterance].removeprefix("digits-")
            parts = [part.split("_") for part in names.split()]
            assert "".join(digit for digit, _, _ in parts) == utterance.split("_")[1]
            assert {owner for _, owner, _ in parts} == {speaker}
        by_speaker = {(read_scp(folder / "utt2spk")[u], names) for u, names in made_of.items()}
        assert len(by_speaker) == len(made_of)  # nothing is said twice
        for utterance, file in read_scp(folder / "wav.scp").items():
            info = soundfile.info(file)
            assert info.samplerate == 16000
            assert 0 <= info.duration - ends[utterance] <= speech.SILENCE + 2e-3
    # a sample is 0.01 for each speaker and 0.001 for each number of the recording
    used = {"test": range(5), "dev": range(5, 10), "train": range(10, 12), "strangers": range(12)}
    for name, numbers in used.items():
        for utterance, made in read_scp(sets[name] / "utt2recordings").items():
            first = made.split()[0].split("_")
            assert int(first[2]) in numbers
            line = next(x for x in (sets[name] / "words.ctm").open() if x.startswith(utterance))
            _, _, start, duration, _ = line.split()
            samples, _ = soundfile.read(read_scp(sets[name] / "wav.scp")[utterance])
            heard = 1000 * samples[int(16000 * (float(start) + float(duration) / 2))]
            spoken_by = [*speech.SPEAKERS, *speech.STRANGERS].index(first[1])
            assert round(heard) == 10 * (spoken_by + 1) + int(first[2])
    assert read_scp(sets["strangers"] / "image.scp") == read_scp(sets["test"] / "image.scp")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("unset", "FSDD is not set"),
        ("other", "recordings/ not found"),
        ("part", r"11 of 12 recordings 4_lucas_\*\.wav are there"),
        ("broken", "4_lucas_0.wav"),
    ],
)
def test_a_bad_folder_is_named(fsdd: Path, tmp_path: Path, spoil: str, message: str) -> None:
    wavs = tmp_path / "recordings"
    if spoil in ("part", "broken"):
        wavs.mkdir()
        for path in fsdd.glob("*/recordings/*.wav"):
            (wavs / path.name).symlink_to(path)
        (wavs / "4_lucas_0.wav").unlink()
    if spoil == "broken":
        (wavs / "4_lucas_0.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=message):
        prepare.find_recordings("" if spoil == "unset" else tmp_path)


def test_the_teacher_never_sees_a_string_of_dev_or_test() -> None:
    sampler = StringSampler(TEACHER, ReducedTokenizer(strings.WORDS), 0)
    drawn = {sampler._string() for _ in range(2000)}
    held_out = strings.draw_strings(0)
    assert drawn.isdisjoint([*held_out["dev"], *held_out["test"], *held_out["five"]])
    assert {len(string) for string in drawn} == {1, 2, 3, 4, 5}
    assert all(sampler._almost(string) != string for string in drawn)


def test_the_small_clip_reads_what_that_of_the_published_results_read() -> None:
    batch = StringSampler(TEACHER, ReducedTokenizer(strings.WORDS), 0).draw()
    red = batch.images[:, 0] * OPENAI_DATASET_STD[0] + OPENAI_DATASET_MEAN[0]
    content = (255.0 * red).round().byte().numpy().tobytes() + repr(batch.texts).encode()
    assert hashlib.sha256(content).hexdigest() == (
        "57fe43da5831795c4f3469cfa93ae06c323b76d006a944ec9b8217d523fef1f5"
    )


def test_the_small_clip_is_trained_scored_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    few = {"train": ["012"], "dev": ["678"], "test": ["901"], "five": ["97531"]}
    monkeypatch.setattr(teacher, "draw_strings", lambda seed: few)
    monkeypatch.setattr(teacher, "TEACHER", replace(TEACHER, batch_size=4))
    (tmp_path / "images").mkdir()
    strings.draw_pictures(few, tmp_path, seed=0)
    caplog.set_level(logging.INFO)
    for _ in range(2):
        teacher.main(["--root", str(tmp_path), "--clip_steps", "2"])
    scored = [line.split()[-4] for line in caplog.messages if "R@10" in line]
    assert scored == ["dev", "test", "five"]
    assert caplog.messages[-1] == "small CLIP: finished before, kept"
    assert sorted(path.name for path in (tmp_path / "clip").iterdir()) == [
        "mini_clip.json",
        "mini_clip.safetensors",
    ]
