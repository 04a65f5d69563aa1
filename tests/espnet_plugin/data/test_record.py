"""A record names what differs: any option that is not free, any input, the version of the code."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from espnet_plugin.data.record import (
    FREE_OPTIONS,
    RECORD,
    VERSIONS,
    Record,
    differences,
    digest_of,
    is_made_from,
    make_record,
    read_record,
    record_path,
    require_fresh,
    require_made_from,
    write_record,
)
from espnet_plugin.utils import hashing
from espnet_plugin.utils.errors import DataError


def lines(step: str, old: dict, new: dict, **options) -> list[str]:
    return differences(make_record(step, old), make_record(step, new), **options)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"context": None}, {"context": 30}, ["context: none then, 30 now"]),
        ({}, {"context": 30}, ["context: none then, 30 now"]),  # a new option counts
        ({"conf": {"a": 1, "b": [1, 2]}}, {"conf": {"a": 1, "b": (1, 2)}}, []),
        ({"conf": {"a": 1}}, {"conf": {"a": 2}}, ["conf.a: 1 then, 2 now"]),
        ({"a": "x" * 80}, {"a": "y"}, ["a: another value then"]),
        ({"nj": 1, "ngpu": 0}, {"nj": 8, "ngpu": 1}, []),
        ({"max_epoch": 3}, {"max_epoch": 5}, []),
        ({"max_epoch": 5}, {"max_epoch": 3}, ["max_epoch: 5 then, 3 now"]),
    ],
)
def test_options_are_compared(old: dict, new: dict, said: list[str]) -> None:
    assert lines("training", old, new) == said


def test_an_unknown_option_had_its_default() -> None:
    now = {"conf": {"a": 1}}
    assert lines("training", {}, now, defaults={"conf": {"a": 1}}) == []
    assert lines("training", {}, now, defaults={"conf": {"a": 0}}) == ["conf.a: 0 then, 1 now"]


def test_an_option_of_one_step_is_free_there_only() -> None:
    assert lines("inference", {"batch_size": 1}, {"batch_size": 2}) == []
    assert lines("training", {"batch_size": 1}, {"batch_size": 2})


def test_every_kind_names_an_option_an_input_and_its_version(tmp_path: Path) -> None:
    text = tmp_path / "text"
    for step, version in VERSIONS.items():
        text.write_text("a cat\n")
        before = make_record(step, {"a": 1}, inputs={"text": text})
        assert differences(before, make_record(step, {"a": 1}, inputs={"text": text})) == []
        changed = make_record(step, {"a": 2}, inputs={"text": text})
        assert differences(before, changed) == ["a: 1 then, 2 now"]
        newer = make_record(step, {"a": 1}, inputs={"text": text}, version=version + 1)
        assert differences(before, newer) == [
            f"its code: {step} {version} then, {step} {version + 1} now"
        ]
        text.write_text("a dog\n")
        changed = make_record(step, {"a": 1}, inputs={"text": text})
        assert differences(before, changed) == [f"text: {text} has changed"]
        assert len({before.digest(), changed.digest(), newer.digest()}) == 3


def test_paths_do_not_count_but_what_is_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "text").write_text("a cat")
    one, other = (
        make_record("vocabulary", {"output": name}, inputs={"text": tmp_path / name / "text"})
        for name in ("a", "b")
    )
    assert differences(one, other) == [] and one.digest() == other.digest()
    named = make_record("vocabulary", {}, inputs={"model": "ViT-B-32"})
    assert differences(named, make_record("vocabulary", {}, inputs={"model": "ViT-L-14"})) == [
        "model: ViT-B-32 then, ViT-L-14 now"
    ]
    gone = make_record("vocabulary", {}, inputs={"model": None})
    assert differences(named, gone) == ["model: ViT-B-32 then, none now"]


def test_a_list_counts_by_its_files_or_by_what_made_them(tmp_path: Path) -> None:
    store, own = tmp_path / "store", tmp_path / "set"
    store.mkdir(), own.mkdir()
    files = {"a": tmp_path / "a.wav", "b": store / "b.npy"}
    for file in files.values():
        file.write_text("1")
    scp = own / "x.scp"
    scp.write_text("".join(f"{key} {path}\n" for key, path in files.items()))
    seen = [digest_of(scp)]

    def changed() -> bool:
        seen.append(digest_of(scp))
        return seen[-1] != seen[-2]

    assert not changed()
    os.utime(files["a"], ns=(1, 1))
    assert changed()
    os.utime(files["b"], ns=(1, 1))
    assert changed()
    write_record(store, make_record("image embeddings", {"a": 1}))
    assert changed()
    os.utime(files["b"], ns=(2, 2))  # what we made counts by its record
    assert not changed()
    write_record(store, make_record("image embeddings", {"a": 2}))
    assert changed()
    os.utime(files["a"], ns=(2, 2))
    assert changed()
    write_record(own, make_record("data set", {}))
    assert changed()
    os.utime(files["a"], ns=(3, 3))  # the set's record has the times of its recordings
    assert not changed()
    scp.write_text(f"a {files['a']}\n")
    assert changed()


def test_a_large_file_is_read_again_only_when_its_stamp_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"1" * (1 << 20))
    first = digest_of(file)
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hash_file", lambda *_: pytest.fail("it was read"))
        assert digest_of(file) == first
    file.write_bytes(b"2" * (1 << 20))
    assert digest_of(file) != first


def test_results_are_fresh_while_code_and_inputs_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    result, text = tmp_path / "tokens.tsv", tmp_path / "text"
    result.write_text("x"), text.write_text("a cat")
    require_fresh([result], remedy="run stage 5 again")
    assert "tokens.tsv: what made it is not known; run stage 5 again to be sure" in caplog.text
    record = make_record("vocabulary", {"a": 1}, inputs={"text": text, "model": "ViT-B-32"})
    write_record(result, record)
    os.utime(text)  # written again with the same content
    require_fresh([result], remedy="")
    assert read_record(result) == record
    monkeypatch.setitem(VERSIONS, "vocabulary", 7)
    with pytest.raises(DataError, match=r"its code: vocabulary 1 then, vocabulary 7 now; run it"):
        require_fresh([result], remedy="run it again")
    require_fresh([result], remedy="", any_version=True)
    text.write_text("a dog")
    with pytest.raises(DataError, match=r"something else: text: .*text has changed; run it again"):
        require_fresh([result], remedy="run it again", any_version=True)
    text.unlink()
    require_fresh([result], remedy="", any_version=True)


def test_what_has_no_record_is_made_again_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    record = make_record("hidden states", {"context": 30})
    assert not is_made_from(tmp_path, record)
    with pytest.raises(DataError, match=rf"{RECORD}: missing, .* not known; run stage 6 again"):
        require_made_from(tmp_path, record, remedy="run stage 6 again")
    write_record(tmp_path, make_record("hidden states", {"context": None}))
    assert not is_made_from(tmp_path, record)
    assert "is made again: context: none then, 30 now" in caplog.text
    with pytest.raises(DataError, match=r"context: none then, 30 now; run stage 6 again"):
        require_made_from(tmp_path, record, remedy="run stage 6 again")
    write_record(tmp_path, record)
    assert is_made_from(tmp_path, record)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[1]",
        "[" * 100_000,
        '{"text": ["a", "0f"]}',  # of version 0.2
        '{"step": "x", "version": 1, "options": [], "inputs": {}}',
        '{"step": "x", "version": 1, "options": {}, "inputs": {"a": "b"}}',
    ],
)
def test_a_damaged_record_is_none(tmp_path: Path, content: str) -> None:
    record_path(tmp_path).write_text(content)
    assert read_record(tmp_path) is None


def test_an_input_that_only_has_a_path_is_compared_by_it() -> None:
    def record(path: str, digest: str | None) -> Record:
        return make_record("training", {}, inputs={"text": (path, digest)})

    assert differences(record("a", None), record("a", "0f")) == []
    assert differences(record("a", None), record("b", "0f")) == ["text: a then, b now"]


def test_free_options_are_listed_once() -> None:
    names = [name for names in FREE_OPTIONS.values() for name in names]
    assert len(names) == len(set(names))
