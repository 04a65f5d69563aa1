from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3prl_upstream import SITE_DIRECTORY, launch

PROJECT = Path(__file__).parents[2]


def run(*arguments: object, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "s3prl_upstream.launch", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=stdin,
        check=False,
        env={"PYTHONPATH": f"{PROJECT}:{cwd}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Programs, and a stand-in for s3prl."""
    (tmp_path / "s3prl").mkdir()
    (tmp_path / "s3prl" / "__init__.py").write_text("")
    (tmp_path / "s3prl" / "hub.py").write_text("")
    (tmp_path / "with_main.py").write_text(
        """
import multiprocessing, sys
from dataclasses import dataclass

@dataclass
class Own:
    value: int

def child(own):
    import s3prl.hub
    raise SystemExit(own.value if hasattr(s3prl.hub, "speechclip_plus") else 1)

def main(cmd=None):
    import s3prl.hub
    assert hasattr(s3prl.hub, "speechclip_plus")
    process = multiprocessing.get_context("spawn").Process(target=child, args=(Own(7),))
    process.start(); process.join()
    print(__name__, sys.argv[1:], process.exitcode)
    return 3

if __name__ == "__main__":
    raise SystemExit(main())
"""
    )
    (tmp_path / "without_main.py").write_text(
        "import sys, s3prl.hub\nprint(__name__, sys.argv[1:], s3prl.hub.speechclip_plus.__name__)\n"
    )
    return tmp_path


def test_module_with_main_and_its_spawned_child(programs: Path) -> None:
    done = run("-m", "with_main", "--x", "1", cwd=programs)
    assert (done.stdout, done.returncode) == ("__main__ ['--x', '1'] 7\n", 3), done.stderr


def test_module_without_main_file_statements_and_stdin(programs: Path) -> None:
    expected = "__main__ ['a'] speechclip_plus\n"
    text = (programs / "without_main.py").read_text()
    assert run("-m", "without_main", "a", cwd=programs).stdout == expected
    assert run("without_main.py", "a", cwd=programs).stdout == expected
    assert run("-c", text, "a", cwd=programs).stdout == expected
    assert run("-", "a", cwd=programs, stdin=text).stdout == expected


def test_the_rest_is_pythons_own(programs: Path) -> None:
    assert run("-O", "-c", "print(__debug__)", cwd=programs).stdout == "False\n"
    done = run("-m", "no_such_module", cwd=programs)
    assert "No module named no_such_module" in done.stderr and done.returncode == 1


def test_a_checkout_that_is_not_installed_is_found_from_its_own_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    become = []
    monkeypatch.setattr(os, "execve", lambda *arguments: become.append(arguments))
    for folder, more in ((PROJECT, [str(PROJECT)]), (tmp_path, [])):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PYTHONPATH", "mine:")
        launch.main(["x.py"])
        assert become[-1][2]["PYTHONPATH"].split(":") == [SITE_DIRECTORY, "mine", *more]
    assert become[0][:2] == (sys.executable, [sys.executable, "x.py"])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("s3prl") is None, reason="s3prl is not installed")
def test_espnets_front_end_names_what_is_wrong(tmp_path: Path) -> None:
    """The real one: its upstream is mistyped, missing, or known but without a model."""
    program = """
import inspect
from espnet2.asr.frontend.s3prl import S3prlFrontend
from espnet2.tasks.asr import ASRTask

assert "multilayer_feature" in inspect.signature(S3prlFrontend).parameters
assert ASRTask.get_default_config() is not None
for upstream in ("speechclip_pluss", None, "speechclip_plus"):
    try:
        S3prlFrontend(frontend_conf={"upstream": upstream, "path_or_url": "no_such_model"})
    except Exception as error:
        print(type(error).__name__, error)
try:
    S3prlFrontend(frontend_conf={"upstream": "fbank"}, multilayer_feature=True, layer=1)
except AssertionError as error:
    print(error)
"""
    done = run("-c", program, cwd=tmp_path)
    remedy = (
        "correct the name, or register it first, as s3prl_upstream.register() does with "
        "speechclip_plus"
    )
    mistyped, missing, absent, others = done.stdout.splitlines()[-4:]
    assert mistyped == (
        "ValueError frontend_conf: upstream 'speechclip_pluss' is not registered with s3prl "
        f"(did you mean speechclip_plus?); {remedy}"
    )
    assert missing == (
        f"ValueError frontend_conf: upstream None is not registered with s3prl; {remedy}"
    )
    assert absent.startswith("FileNotFoundError no_such_model: no such file or directory; expected")
    assert others.startswith("multilayer feature will be deactivated")  # ESPnet's own sentence
