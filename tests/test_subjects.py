"""Subjects of commits, in a repository of four."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.subjects import complaints

SINCE = "2020-01-02T00:00:00+00:00"
COMMITS = {  # subjects and the days of January 2020 on which they were made
    "One change; and before the rule another, " + "of many words " * 4: 1,
    "é" * 72: 3,
    "x" * 73: 3,
    "Read the table once; name its file": 3,
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q", str(folder)], check=True)
    for subject, day in COMMITS.items():
        date = f"2020-01-0{day}T12:00:00+00:00"
        subprocess.run(
            [*git, "commit", "-q", "--allow-empty", "-m", f"{subject}\n\n{'body; ' * 30}"],
            cwd=folder,
            env={**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
            check=True,
        )
    return folder


def test_long_subjects_and_semicolons_since_the_rule(repository: Path) -> None:
    semicolon, long = complaints(repository, since=SINCE)
    assert "a semicolon in the subject joins two changes: Read the table" in semicolon
    assert "takes 73 characters, 72 at most" in long


def test_a_shallow_clone_and_a_folder_without_history(repository: Path, tmp_path: Path) -> None:
    shallow, plain = tmp_path / "shallow", tmp_path / "plain"
    clone = ["git", "clone", "-q", "--depth=1", repository.as_uri(), str(shallow)]
    subprocess.run(clone, check=True)
    assert len(complaints(shallow, since=SINCE)) == 1
    plain.mkdir()
    assert complaints(plain) == []
