from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from espnet_plugin.apps.glossary import Entry, Glossary, Place, find_recordings, words_of_index
from espnet_plugin.apps.glossary_folder import check_glossary_folder, write_glossary
from espnet_plugin.apps.search.encoder import words_of_file
from espnet_plugin.apps.search.index import Index
from espnet_plugin.bin.speechclip import main
from espnet_plugin.data.words import SpokenWord
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import save_speechclip
from espnet_plugin.utils.errors import DataError
from tests.espnet_plugin.apps.search.conftest import recording, update
from tests.tiny import tiny_hybrid_plus_config

RATE = 16000


def word(name: str, score: float, start: float = 0.0) -> SpokenWord:
    return SpokenWord(name, score, start, start + 0.5)


def collected(number: int, *recordings: list[SpokenWord]) -> list[Entry]:
    glossary = Glossary(number)
    for name, words in zip("abcdefgh", recordings, strict=False):
        glossary.add(name, f"/{name}.wav", words)
    assert glossary.recordings == len(recordings)
    return glossary.entries()


def test_each_recording_gives_a_place_before_any_gives_two() -> None:
    dogs = [word("dog", 0.9), word("dog", 0.8, 1.0)], [word("dog", 0.3)], [word("cat", 0.5)]
    cat, dog = collected(2, *dogs)
    assert (cat.word, cat.heard, cat.recordings) == ("cat", 1, 1)
    assert (dog.word, dog.heard, dog.recordings) == ("dog", 3, 2)
    assert [(place.recording, place.word.score) for place in dog.places] == [("a", 0.9), ("b", 0.3)]
    _, dog = collected(3, *dogs)  # two recordings do not suffice for three places
    assert [(place.recording, place.word.score) for place in dog.places] == [
        ("a", 0.9),
        ("a", 0.8),
        ("b", 0.3),
    ]
    assert dog.places[1] == Place("a", "/a.wav", word("dog", 0.8, 1.0))


heard = st.lists(
    st.lists(st.tuples(st.sampled_from("xy"), st.integers(0, 9)), max_size=6), max_size=8
)


@given(heard, st.integers(1, 4))
def test_places_are_those_of_a_search_through_everything(heard: list, number: int) -> None:
    recordings = [
        [word(name, score / 10, float(start)) for start, (name, score) in enumerate(each)]
        for each in heard
    ]
    found = collected(number, *recordings)
    assert [entry.word for entry in found] == sorted({name for each in heard for name, _ in each})
    for entry in found:
        every = []
        for name, words in zip("abcdefgh", recordings, strict=False):
            own = sorted((-w.score, w.start) for w in words if w.word == entry.word)
            every += [(turn > 0, score, name, start) for turn, (score, start) in enumerate(own)]
        best = sorted(place[1:] for place in sorted(every)[:number])
        places = [(-p.word.score, p.recording, p.word.start) for p in entry.places]
        assert places == best
        assert entry.heard == len(every)


def test_keywords_without_times_make_no_glossary() -> None:
    with pytest.raises(ValueError, match=r"\(cls\) have no times"):
        Glossary().add("a", "a.wav", [SpokenWord("dog", 0.5, None, None)])


def test_recordings_of_a_folder_a_data_directory_and_a_file(tmp_path: Path) -> None:
    wav, folder, data = recording(tmp_path / "in/sub/a.wav", 3), tmp_path / "in", tmp_path / "data"
    (folder / "notes.txt").write_text("none")
    assert find_recordings(folder) == {"sub/a.wav": str(wav)}
    assert find_recordings(wav) == {"a.wav": str(wav)}
    data.mkdir()
    (data / "wav.scp").write_text(f"utt {wav}\n")
    assert find_recordings(data) == {"utt": str(wav)}
    (data / "wav.scp").write_text("utt sox a.sph - |\n")
    with pytest.raises(DataError, match=r"wav.scp: utt is a command, not a file"):
        find_recordings(data)
    (data / "wav.scp").write_text("")
    with pytest.raises(DataError, match="data: no recording in it"):
        find_recordings(data)
    with pytest.raises(DataError, match="gone: no such file"):
        find_recordings(tmp_path / "gone")


def read_table(directory: Path) -> list[dict[str, str]]:
    text = (directory / "glossary.tsv").read_bytes().decode(errors="surrogateescape")
    return list(csv.DictReader(text.splitlines(), dialect="excel-tab"))


def test_snippets_are_the_keywords_with_a_little_air(tmp_path: Path) -> None:
    samples = np.linspace(-0.5, 0.5, 2 * RATE)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    name = os.fsdecode(b"t\xe9 <i>a.wav")  # of an old disk, not UTF-8
    places = (
        Place(name, str(path), SpokenWord("a", 0.9, 1.0, 1.25)),
        Place("b", str(path), SpokenWord("a", 0.8, 0.05, 1.95)),
    )
    gone = Place("gone", str(tmp_path / "gone.wav"), word("a.", 0.7))
    entries = [Entry("a", places, 3, 2), Entry("a.", (gone,), 1, 1), Entry("<b>", places[:1], 1, 1)]
    about: dict[str, Any] = {"recordings": 2, "problems": {"x.wav": "empty"}, "note": "A note."}
    assert write_glossary(tmp_path / "out", entries, **about) == 3
    rows = read_table(tmp_path / "out")
    assert [tuple(row.values()) for row in rows] == [
        ("a", "1", name, "1.000", "1.250", "0.9000", "snippets/00001_a_1.wav"),
        ("a", "2", "b", "0.050", "1.950", "0.8000", "snippets/00001_a_2.wav"),
        ("<b>", "1", name, "1.000", "1.250", "0.9000", "snippets/00003_b_1.wav"),
    ]
    cut, rate = soundfile.read(tmp_path / "out" / rows[0]["snippet"])
    assert rate == RATE
    np.testing.assert_allclose(cut, samples[round(0.85 * RATE) : round(1.4 * RATE)], atol=1e-4)
    whole, _ = soundfile.read(tmp_path / "out" / rows[1]["snippet"])
    assert len(whole) == len(samples)  # no air outside the recording
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    played = re.findall(r'<audio [^>]*src="([^"]+)"', page)
    assert sorted(played) == [row["snippet"] for row in rows]
    for text in ("&lt;b&gt;", "t? &lt;i&gt;a.wav", "A note.", "x.wav: empty", "3 times in 2 recor"):
        assert text in page
    assert "<script" not in page and "://" not in page


def test_a_glossary_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    talks, out = tmp_path / "talks", tmp_path / "out"
    talks.mkdir()
    check_glossary_folder(out, talks)
    write_glossary(out, [], recordings=0, problems={})
    check_glossary_folder(out, talks)
    (out / "my notes.txt").touch()
    with pytest.raises(DataError, match=r"out holds other files \(my notes.txt\); name a new"):
        check_glossary_folder(out, talks)
    (out / "my notes.txt").unlink()
    (out / "glossary.tsv").rename(out / "table.tsv")
    with pytest.raises(DataError, match=r"out holds other files \(index.html\)"):
        check_glossary_folder(out, talks)
    with pytest.raises(DataError, match="words is in .*talks, where the snippets would be"):
        check_glossary_folder(talks / "words", talks)
    with pytest.raises(DataError, match="table.tsv: a file; name a new folder"):
        check_glossary_folder(out / "table.tsv", talks)


def test_an_index_gives_its_words_and_what_is_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "talks"
    for name, tones in {"a.wav": (3, 5), "b.wav": (3,), "c.wav": (9,)}.items():
        recording(folder / name, *tones)
    (folder / "bad.wav").write_bytes(b"noise")
    (folder / "bad.png").write_bytes(b"noise")
    update(tmp_path / "index", folder)
    recording(folder / "c.wav", 1)
    problems: dict[str, str] = {}
    found = list(words_of_index(Index(tmp_path / "index"), problems))
    assert [(name, path) for name, path, _ in found] == [
        (str(folder / name),) * 2 for name in ("a.wav", "b.wav")
    ]
    assert [[each.word for each in words] for *_, words in found] == [["tone3", "tone5"], ["tone3"]]
    assert {Path(path).name for path in problems} == {"bad.wav", "c.wav"}
    assert "gone, changed or copied" in problems[str(folder / "c.wav")]
    few = words_of_index(Index(tmp_path / "index"), {}, min_score=0.6)
    assert [words for *_, words in few] == [[], []]


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """A long recording, a short one in stereo, and one that cannot be read."""
    rng, folder = np.random.default_rng(0), tmp_path / "talks"
    folder.mkdir()
    bursts = [np.concatenate([rng.normal(0, 0.1, RATE), np.zeros(RATE)]) for _ in range(7)]
    soundfile.write(folder / "long.wav", np.concatenate(bursts), RATE)
    short = np.repeat(rng.normal(0, 0.1, (44100, 1)), 2, axis=1)
    soundfile.write(folder / "short.flac", np.concatenate([short, 0 * short]), 44100)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    (folder / "bad.wav").write_bytes(b"noise")
    return folder


def test_the_command_writes_what_python_hears(
    exported: Path, talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    main(["glossary", str(talks), "--model", str(exported), "--output", str(out), "--json"])
    made = json.loads(capsys.readouterr().out)
    rows = read_table(out)
    assert (made["recordings"], made["snippets"], list(made["left_out"])) == (
        2,
        len(rows),
        ["bad.wav", "silent.wav"],
    )
    assert made["left_out"]["bad.wav"].startswith("cannot be read")
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    spoken = {n: words_of_file(model, str(talks / n)) for n in ("long.wav", "short.flac")}
    assert {row["keyword"] for row in rows} == {w.word for each in spoken.values() for w in each}
    for row in rows:
        (match,) = [
            w
            for w in spoken[row["recording"]]
            if w.word == row["keyword"] and f"{w.start:.3f}" == row["start"]
        ]
        assert (f"{match.end:.3f}", f"{match.score:.4f}") == (row["end"], row["score"])
        assert (out / row["snippet"]).is_file()
    assert max(float(row["end"]) for row in rows if row["recording"] == "long.wav") > 10
    # the same again from an index, whose model need not be named
    index = tmp_path / "index"
    main(["index", str(talks), "--model", str(exported), "--index", str(index)])
    capsys.readouterr()
    again = ["--output", str(out), "--number", "1", "--min_score", "-1"]
    main(["glossary", str(index), *again])
    printed = capsys.readouterr().out
    assert re.search(r"^recordings +2$", printed, re.MULTILINE)
    assert re.search(r"^left out +\S+/bad\.wav: ", printed, re.MULTILINE)
    assert {row["rank"] for row in read_table(out)} == {"1"}


def test_of_many_recordings_without_a_good_one_the_first_problem_is_said(
    exported: Path, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (data / "wav.scp").write_text("a gone/a.wav\nb gone/b.wav\n")
    with pytest.raises(SystemExit, match=r"none of 2 recordings can be used; the first: gone/a\.w"):
        main(["glossary", str(data), "--model", str(exported), "--output", str(out)])
    assert not out.exists()


def test_a_model_without_keywords_is_refused_once(talks: Path, tmp_path: Path, caplog) -> None:
    config, model = tiny_hybrid_plus_config(tmp_path), tmp_path / "parallel"
    config["keyword_extractor"] = "none"
    save_speechclip(build_speechclip(config), config, model)
    with pytest.raises(SystemExit, match=r"parallel: this architecture \(parallel\) has no keyw"):
        main(["glossary", str(talks), "--model", str(model), "--output", str(tmp_path / "out")])
    assert "left out" not in caplog.text


def test_what_is_wrong_is_said_before_a_model_is_looked_for(talks: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    for arguments, message in (
        ([str(talks), "--output", str(tmp_path)], "holds other files"),
        (["absent", "--model", "absent", "--output", out], "absent: no such file"),
        ([str(talks), "--output", out], "talks: not an index, so --model is needed"),
    ):
        with pytest.raises(SystemExit, match=f"^speechclip: error: .*{message}"):
            main(["glossary", *arguments])
    assert not Path(out).exists()
