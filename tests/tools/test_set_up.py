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
    return subprocess.run(
        [str(ROOT / "tools" / "set_up.sh"), python, str(venv), *torch],
        text=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, **environment},
    )


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


@pytest.mark.slow
def test_no_network(tmp_path: Path) -> None:
    nothing = {"PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1", "PIP_RETRIES": "0"}
    result = set_up(
        sys.executable, tmp_path / "venv", PIP_INDEX_URL="http://127.0.0.1:9/simple", **nothing
    )
    assert result.returncode == 1
    assert "pip cannot fetch uv: it installs everything itself" in result.stdout
    assert "the packages cannot be installed" in result.stderr
    assert "is the network up?" in result.stderr
    assert not (tmp_path / "venv" / ".complete").exists()


def fake_environment(
    venv: Path, *, code: int = 0, torch: str = "", has_uv: bool = True, index: str = ""
) -> None:
    """An environment whose pip and uv note their calls; what installs ends with ``code``."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (venv / "bin").mkdir(parents=True)
    installer = f"""echo "$0 $* from ${{UV_DEFAULT_INDEX-PyPI}}" >> {venv}/calls
        echo " + package==1"
        echo "the last word" >&2
        exit {code}
        """
    python = f"""#!/bin/sh
        case "$*" in
            *metadata*) echo {torch};;
            *print*) echo {version};;
            *"pip install"*" uv") exit {int(not has_uv)};;
            *"pip config get global.index-url") echo {index};;
            *"pip install"*) {installer};;
        esac
        """
    for name, content in (("python", python), ("uv", f"#!/bin/sh\n{installer}")):
        (venv / "bin" / name).write_text(content)
        (venv / "bin" / name).chmod(0o755)


def calls(venv: Path) -> list[str]:
    """What was called to install, without the folder."""
    return (venv / "calls").read_text().replace(f"{venv}/bin/", "").splitlines()


def test_uv_installs_and_its_list_of_packages_is_not_shown(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv")
    result = set_up(sys.executable, tmp_path / "venv")
    assert result.returncode == 0, result.stderr
    (call,) = calls(tmp_path / "venv")
    assert call.startswith("uv pip install --python python -c constraints/py31")
    assert call.endswith("-e .[all] from PyPI")
    assert "the last word" in result.stdout
    assert "package==1" not in result.stdout
    assert "ready:" in result.stdout
    assert (tmp_path / "venv" / ".complete").exists()


def test_uv_takes_the_mirror_that_pip_knows(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", index="https://mirror/simple")
    for given, expected in (
        ({}, "https://mirror/simple"),
        ({"PIP_INDEX_URL": "https://other"}, "https://other"),
        ({"PIP_INDEX_URL": "https://other", "UV_DEFAULT_INDEX": "https://own"}, "https://own"),
    ):
        assert set_up(sys.executable, tmp_path / "venv", **given).returncode == 0
        assert calls(tmp_path / "venv")[-1].endswith(f" from {expected}")


def test_pip_installs_where_there_is_no_uv(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", has_uv=False)
    result = set_up(sys.executable, tmp_path / "venv")
    assert result.returncode == 0, result.stderr
    (call,) = calls(tmp_path / "venv")
    assert call.startswith("python -m pip install --progress-bar off -c constraints/py31")
    assert "-e .[all]" in call


@pytest.mark.parametrize("has_uv", [True, False])
def test_a_failure_has_the_last_word(has_uv: bool, tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", code=1, has_uv=has_uv)
    result = set_up(sys.executable, tmp_path / "venv")
    assert result.returncode == 1
    assert result.stdout.endswith("the last word\n")
    assert "the reason stands above. Run make again to continue." in result.stderr
    assert not (tmp_path / "venv" / ".complete").exists()


def test_another_build_of_pytorch_comes_from_its_index(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv")
    result = set_up(sys.executable, tmp_path / "venv", "cpu")
    assert result.returncode == 0, result.stderr
    first, second = calls(tmp_path / "venv")
    index = "--no-deps --index-url https://download.pytorch.org/whl/cpu"
    assert f".txt {index} torch torchvision torchaudio" in first
    assert ".txt -e .[all]" in second
    assert (tmp_path / "venv" / ".complete-cpu").exists()


def test_a_mirror_may_have_it(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", torch="2.9.1+cpu")
    assert set_up(sys.executable, tmp_path / "venv", "cpu", "file:///mirror").returncode == 0
    assert "--index-url file:///mirror torch" in calls(tmp_path / "venv")[0]


def test_another_build_is_not_exchanged(tmp_path: Path) -> None:
    fake_environment(tmp_path / "venv", torch="2.9.1")
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
    assert f'SPEECHCLIP_CALLED_FROM="{ROOT}" scripts/demo.sh --only' in shown.stdout


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
