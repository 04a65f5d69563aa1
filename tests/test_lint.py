"""A commit is checked by the hooks; a landing waits only for what is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lint import Check, Result, judged
from tests.subjects import LONGEST, faults

PROJECT = Path(__file__).parents[1]
SETTINGS = """
[tool.ruff]
line-length = 100
[tool.ruff.lint]
select = ["F"]
[tool.mypy]
files = ["small.py"]
[tool.vulture]
paths = ["small.py"]
"""
LONG = "Say in the subject of a commit what should have stood in the body of this commit"
Git = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A small project with our checks and hooks, and git in it."""
    (tmp_path / "tests").mkdir()
    for name in ("__init__", "lint", "lines", "prose", "subjects"):
        shutil.copy(PROJECT / "tests" / f"{name}.py", tmp_path / "tests")
    shutil.copy(PROJECT / "tests" / "prose_habits.tsv", tmp_path / "tests")
    shutil.copytree(PROJECT / "tools" / "hooks", tmp_path / "tools" / "hooks")
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    # of the hook that may be running these tests
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        options = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        return subprocess.run(
            ["git", *options, *arguments],
            cwd=tmp_path, env=environment, text=True, capture_output=True,
        )  # fmt: skip

    run("init", "-q")
    run("config", "speechclip.venv", str(Path(sys.executable).parents[1]))
    (tmp_path / "small.py").write_text('print("well")\n')
    (tmp_path / ".gitignore").write_text("__pycache__\n.*_cache\n")
    run("add", ".")
    assert run("commit", "-q", "-m", "Begin").returncode == 0
    return run


def lint(folder: Path, *options: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lint", *options], cwd=folder, text=True, capture_output=True
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


@pytest.mark.slow
def test_untidy_lands_with_notes_and_broken_does_not(tmp_path: Path, git: Git) -> None:
    (tmp_path / "small.py").write_text('print("well"   )\n')
    git("commit", "-qam", LONG)
    code, lines = lint(tmp_path, "--landing")
    assert (code, lines[-1]) == (0, "lint: 2 notes")
    formatted, subject = lines[:-1]
    assert formatted.startswith("NOTE: format: small.py:1:")
    assert subject.startswith("NOTE: subjects: ") and subject.endswith(LONG)

    code, lines = lint(tmp_path)
    assert code == 1 and not any(line.startswith("NOTE") for line in lines)

    (tmp_path / "small.py").write_text("print(wel)\n")
    git("commit", "-qam", "Name what is not there")
    code, lines = lint(tmp_path, "--landing")
    assert code == 1
    assert "ruff: small.py:1:7: F821 Undefined name `wel`" in lines


def test_only_what_is_broken_stops_a_landing() -> None:
    broken, untidy = Check("mypy", (), True), Check("prose", (), False)
    results = [Result(broken, "a.py:1: no", True), Result(untidy, "a.md:1: no\na.md:2: no", True)]
    results.append(Result(broken, "Success", False))
    notes = ["prose: a.md:1: no", "prose: a.md:2: no"]
    assert judged(results, landing=True) == (["mypy: a.py:1: no"], notes)
    assert judged(results, landing=False) == (["mypy: a.py:1: no", *notes], [])
    silent = Result(untidy, "", True)
    assert judged([silent], landing=True) == ([], ["prose: failed, and said nothing"])


@pytest.mark.slow
def test_hooks_refuse_what_is_untidy(tmp_path: Path, git: Git) -> None:
    git("config", "core.hooksPath", "tools/hooks")
    (tmp_path / "small.py").write_text('print("well"   )\n')
    (tmp_path / "page.md").write_text(" ".join(["word"] * 40) + ".\n")
    (tmp_path / "script.sh").write_text("#!/bin/bash\nrm $1\n")
    git("add", ".")
    # what counts is what is staged
    (tmp_path / "small.py").write_text('print("well")\n')
    refused = git("commit", "-m", "Write")
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1
    assert "small.py:1:13: unformatted" in said
    assert "page.md:1: a sentence of 40 words" in said
    assert "script.sh:2:4: note: Double quote" in said
    assert "git commit --no-verify" in said

    assert git("commit", "--no-verify", "-m", "Write").returncode == 0
    git("add", "small.py")
    refused = git("commit", "-m", LONG)
    assert refused.returncode == 1
    assert f"takes {len(LONG)} characters, {LONGEST} at most" in refused.stderr
    assert git("commit", "-m", "Format it").returncode == 0


def test_faults_of_a_subject() -> None:
    assert faults("x" * LONGEST) == []
    assert len(faults("x" * LONGEST + ";")) == 2
