"""The set-up ends early, with one sentence, where it cannot work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def set_up(
    python: str, venv: Path, *torch: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    said = venv.parent / "said"
    with said.open("w") as stdout:
        result = subprocess.run(
            [str(ROOT / "tools" / "set_up.sh"), python, str(venv), *torch],
            text=True,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=60,
            env={**os.environ, "SAID": str(said), **environment},
        )
    result.stdout = said.read_text()
    return result


def fake_python(path: Path, version: str, *, venv: bool = True) -> str:
    """An interpreter that can only say its version."""
    old = int(tuple(map(int, version.split("."))) < (3, 10))
    path.write_text(
        f"""#!/bin/sh
        case "$2" in
            *print*) echo {version};;
            *"< (3, 10)"*) exit {old};;
            *ensurepip*) exit {int(not venv)};;
            *) exit 1;;
        esac
        """
    )
    path.chmod(0o755)
    return str(path)


def test_no_such_python(tmp_path: Path) -> None:
    result = set_up("no-such-python", tmp_path / "venv")
    assert result.returncode == 1
    assert "there is no 'no-such-python'" in result.stderr
    assert "make PYTHON=" in result.stderr


def test_old_python(tmp_path: Path) -> None:
    result = set_up(fake_python(tmp_path / "python3", "3.9"), tmp_path / "venv")
    assert result.returncode == 1
    assert "is Python 3.9, and 3.10 or newer is needed" in result.stderr


def test_python_without_venv_names_the_package(tmp_path: Path) -> None:
    result = set_up(fake_python(tmp_path / "python3", "3.13", venv=False), tmp_path / "venv")
    assert result.returncode == 1
    assert "apt-get install python3.13-venv" in result.stderr


def test_environment_of_another_python(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    fake_python(tmp_path / "venv" / "bin" / "python", "3.11")
    result = set_up(fake_python(tmp_path / "python3", "3.13"), tmp_path / "venv")
    assert result.returncode == 1
    assert "belongs to Python 3.11" in result.stderr
    assert "make VENV=.venv-3.13" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the unreachable address is Linux's")
def test_no_network(tmp_path: Path) -> None:
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    # this interpreter as the environment: pip is run, but against nothing that answers
    (venv / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "python").chmod(0o755)
    result = set_up(
        sys.executable,
        tmp_path / "venv",
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_FIND_LINKS="",
        PIP_NO_CACHE_DIR="1",
        PIP_RETRIES="0",
    )
    assert result.returncode == 1
    assert "pip cannot fetch packages" in result.stderr
    assert "is the network up?" in result.stderr


def fake_environment(venv: Path, *, code: int, torch: str = "") -> None:
    """An environment whose pip notes its calls, says much, waits until that is shown and ends."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(
        f"""#!/bin/sh
        case "$*" in
            *metadata*) echo {torch};;
            *print*) echo {version};;
            *"pip install"*)
                echo "$*" >> {venv}/calls
                for n in $(seq 300); do echo "Collecting package-$n"; done
                until grep -q "300 packages" "$SAID"; do sleep 0.1; done
                echo "ERROR: the last word" >&2
                exit {code};;
        esac
        """
    )
    python.chmod(0o755)


def test_what_pip_says_goes_into_a_log(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", code=0)
    result = set_up(sys.executable, tmp_path / "venv")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) < 8
    assert "s, 300 packages: Collecting package-300" in result.stdout
    assert "ready:" in result.stdout
    log = (tmp_path / "venv" / "set_up.log").read_text()
    assert len(log.splitlines()) == 301
    assert (tmp_path / "venv" / ".complete").exists()


def test_failing_pip_has_the_last_word(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", code=1)
    result = set_up(sys.executable, tmp_path / "venv")
    assert result.returncode == 1
    assert "ERROR: the last word" in result.stderr
    assert f"the rest is in {tmp_path}/venv/set_up.log" in result.stderr
    assert len(result.stderr.splitlines()) < 25
    assert not (tmp_path / "venv" / ".complete").exists()


def test_another_build_of_pytorch_comes_from_its_index(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", code=0)
    result = set_up(sys.executable, tmp_path / "venv", "cpu")
    assert result.returncode == 0, result.stderr
    first, second = (tmp_path / "venv" / "calls").read_text().splitlines()
    index = "--no-deps --index-url https://download.pytorch.org/whl/cpu"
    assert first.endswith(f".txt {index} torch torchvision torchaudio")
    assert second.endswith(".txt -e .[all]")
    assert (tmp_path / "venv" / ".complete-cpu").exists()


def test_a_mirror_may_have_it(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", code=0, torch="2.9.1+cpu")
    assert set_up(sys.executable, tmp_path / "venv", "cpu", "file:///mirror").returncode == 0
    assert "--index-url file:///mirror torch" in (tmp_path / "venv" / "calls").read_text()


def test_another_build_is_not_exchanged(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", code=0, torch="2.9.1")
    result = set_up(sys.executable, tmp_path / "venv", "cpu")
    assert result.returncode == 1
    assert "has PyTorch 2.9.1, not its cpu build" in result.stderr
    assert not (tmp_path / "venv" / "calls").exists()


@pytest.mark.parametrize("name", ["py311", "py313"])
def test_constraints_are_exact(name: str) -> None:
    text = (ROOT / "constraints" / f"{name}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in lines)
    names = [line.partition("==")[0].lower().replace("_", "-") for line in lines]
    assert len(names) == len(set(names))
    for needed in ("espnet", "torch", "torchaudio", "transformers", "open-clip-torch"):
        assert needed in names


def test_make_demo_says_where_it_was_called() -> None:
    shown = subprocess.run(["make", "-n", "-C", str(ROOT), "demo"], text=True, capture_output=True)
    assert f'SPEECHCLIP_CALLED_FROM="{ROOT}" ./run.sh --corpus mini' in shown.stdout


def test_make_passes_the_build_of_pytorch_on(tmp_path: Path) -> None:
    options = [f"VENV={tmp_path / 'venv'}", "TORCH=cpu", "TORCH_INDEX=file:///mirror"]
    shown = subprocess.run(
        ["make", "-n", "-C", str(ROOT), "env", *options], text=True, capture_output=True
    )
    assert f'"{tmp_path / "venv"}" "cpu" "file:///mirror"' in shown.stdout


def test_make_help_names_the_commands() -> None:
    shown = subprocess.run(["make", "-C", str(ROOT)], text=True, capture_output=True).stdout
    for command in ("make demo", "make test", "make lint", "make docs", "TORCH=cpu", "PYTHON="):
        assert command in shown
