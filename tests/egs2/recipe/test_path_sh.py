"""Which Python the recipe finds when nothing is activated."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[3] / "egs2" / "speechclip_plus"


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a recipe and a .venv, and a system Python without ESPnet."""
    recipe = tmp_path / "project" / "egs2" / "speechclip_plus"
    recipe.mkdir(parents=True)
    shutil.copy(RECIPE / "path.sh", recipe)
    executable(tmp_path / "project" / ".venv" / "bin" / "python3", "#!/bin/sh\n")
    executable(tmp_path / "bin" / "python3", "#!/bin/sh\nexit 1\n")
    return tmp_path


def source(project: Path, cwd: Path) -> dict[str, str]:
    script = """set -euo pipefail
    . ./path.sh
    echo "python=$(command -v python3)"
    echo "PYTHONPATH=$PYTHONPATH"
    echo "OMP_NUM_THREADS=$OMP_NUM_THREADS"
    echo "extra=${extra:-}"
    echo "first=${PATH%%:*}" """
    environment = {"PATH": f"{project}/bin:/usr/bin:/bin"}
    shown = subprocess.run(
        ["bash", "-c", f"cd {cwd}; {script}"], env=environment, text=True, capture_output=True
    )
    assert shown.returncode == 0, shown.stderr
    return dict(line.split("=", 1) for line in shown.stdout.splitlines())


def test_the_projects_environment(project: Path) -> None:
    recipe = project / "project" / "egs2" / "speechclip_plus"
    found = source(project, recipe)
    assert found["python"] == str(project / "project" / ".venv" / "bin" / "python3")
    assert found["PYTHONPATH"] == str(project / "project")
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["first"] == str(recipe / "utils")


def test_a_python_that_has_espnet_wins(project: Path) -> None:
    executable(project / "bin" / "python3", "#!/bin/sh\nexit 0\n")
    found = source(project, project / "project" / "egs2" / "speechclip_plus")
    assert found["python"] == str(project / "bin" / "python3")


def test_linked_into_an_espnet_checkout(project: Path) -> None:
    checkout = project / "espnet"
    executable(checkout / "their" / "python3", "#!/bin/sh\nexit 0\n")
    tools = checkout / "tools"
    executable(tools / "activate_python.sh", f"PATH={checkout}/their:$PATH; echo $undefined >&2\n")
    executable(tools / "extra_path.sh", "extra=sourced\n")
    (checkout / "egs2").mkdir()
    (checkout / "egs2" / "linked").symlink_to(project / "project" / "egs2" / "speechclip_plus")
    found = source(project, checkout / "egs2" / "linked")
    assert found["python"] == str(checkout / "their" / "python3")
    assert found["extra"] == "sourced"
    # our package first, then the checkout's espnet2
    assert found["PYTHONPATH"] == f"{project / 'project'}:{checkout}"


def test_local_path_sh_is_read_last(project: Path) -> None:
    recipe = project / "project" / "egs2" / "speechclip_plus"
    executable(recipe / "local" / "path.sh", "export OMP_NUM_THREADS=7\n")
    assert source(project, recipe)["OMP_NUM_THREADS"] == "7"
