from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from local.shared.sets import without_contradictions
from local.shared.spoken_captions import ABSENT, SpokenCaption, problem_of

ONE = SpokenCaption("train", "a_0", "a", "a.wav", "a.jpg", caption="a dog")


def test_of_entries_that_contradict_each_other_none_is_used() -> None:
    other_id, other_file = replace(ONE, utterance="b_0"), replace(ONE, recording="c.wav")
    fine = replace(ONE, utterance="d_0", recording="d.wav")
    problems = [item.problem for item in without_contradictions([fine, ONE, other_id, fine])]
    shared = "recording of another utterance, too"
    assert problems == ["", shared, shared, "listed again"]
    problems = [item.problem for item in without_contradictions([ONE, fine, other_file])]
    assert problems == ["its id is listed with something else, too", "", problems[0]]


@pytest.mark.parametrize(
    ("recording", "image", "problem"),
    [
        ("a.wav", "a.jpg", ""),
        ("empty.wav", "a.jpg", ""),  # stage 2 reads it
        ("linked.wav", "a.jpg", ""),  # a link may lead out
        ("folder", "a.jpg", "recording missing"),
        ("dangling.wav", "a.jpg", "recording missing"),
        ("x" * 300, "a.jpg", "recording missing"),
        ("a\0.wav", "a.jpg", "recording missing"),
        ("a.wav", "gone.jpg", "image missing"),
        ("gone.wav", "gone.jpg", ABSENT),
        ("../a.wav", "a.jpg", "recording outside the corpus's folder"),
        ("a.wav", "folder/../../a.jpg", "image outside the corpus's folder"),
    ],
)
def test_which_files_are_there(tmp_path: Path, recording: str, image: str, problem: str) -> None:
    root = tmp_path / "corpus"
    (root / "folder").mkdir(parents=True)
    for path in (tmp_path / "a.wav", tmp_path / "a.jpg", root / "a.wav", root / "a.jpg"):
        path.write_bytes(b"x")
    (root / "empty.wav").touch()
    (root / "linked.wav").symlink_to(tmp_path / "a.wav")
    (root / "dangling.wav").symlink_to("nowhere")
    item = replace(ONE, recording=f"{root}/{recording}", image_file=f"{root}/{image}")
    assert problem_of(item, [root]) == problem
    assert "outside" not in problem_of(item, [])
    if not problem:
        assert problem_of(replace(item, caption=""), [root]) == "caption is empty"
