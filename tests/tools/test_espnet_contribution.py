"""What a pull request to ESPnet would bring, in a stand-in for ESPnet's checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "espnet_contribution.sh"
TEMPLATE = "egs2/TEMPLATE/speechclip1"
RECIPE = "egs2/speechclip_plus/speechclip1"
RECIPE3 = "egs3/speechclip_plus/speechclip"
# as ESPnet's recipes have them, in their order
PATH_SH = """MAIN_ROOT=$PWD/../../..
export PATH=$PWD/utils/:$PATH
export LC_ALL=C
. "${MAIN_ROOT}"/tools/activate_python.sh && . "${MAIN_ROOT}"/tools/extra_path.sh
export OMP_NUM_THREADS=1
export PYTHONIOENCODING=UTF-8
. local/path.sh
"""
CMD_SH = "cmd_backend='local'\n" + "".join(
    f'export {name}="run.pl"\n' for name in ("train_cmd", "cuda_cmd", "decode_cmd")
)
FILES = {
    "egs2/TEMPLATE/asr1/path.sh": PATH_SH,
    "egs2/TEMPLATE/asr1/cmd.sh": CMD_SH,
    "egs2/TEMPLATE/asr1/conf/slurm.conf": "command sbatch --export=PATH\n",
    "egs2/TEMPLATE/asr1/conf/queue.conf": "command qsub -v PATH\n",
    "egs2/TEMPLATE/asr1/conf/pbs.conf": "command qsub -v PATH\n",
    "egs2/TEMPLATE/asr1/db.sh": "# corpora\nAN4=downloads\n",
    "egs2/TEMPLATE/asr1/steps/README.md": "Kaldi's\n",
    "egs2/TEMPLATE/asr1/pyscripts/README.md": "ESPnet's\n",
    "tools/activate_python.sh": f"export PATH={Path(sys.executable).parent}:$PATH\n",
    "tools/extra_path.sh": f"export PYTHONPATH={ROOT}:${{PYTHONPATH:-}}\n",
    ".gitignore": "egs2/test\nexp\ndump\ndata\ndownloads\n.coverage*\n",
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the contribution in it, committed and cloned again."""
    folder = tmp_path_factory.mktemp("espnet")
    work, clone = folder / "work", folder / "clone"
    for name, content in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(content)
    shutil.copytree(ROOT / "egs2" / "speechclip_plus" / "utils", work / "egs2/TEMPLATE/asr1/utils")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for _ in range(2):
        subprocess.run([SCRIPT, work], check=True)
        subprocess.run([*git, "init", "-q"], cwd=work, check=True)
        subprocess.run([*git, "add", "-A"], cwd=work, check=True)
        # the second time there is nothing to commit
        done = subprocess.run([*git, "commit", "-q", "-m", "SpeechCLIP+"], cwd=work, text=True)
    assert done.returncode == 1
    subprocess.run([*git, "clone", "-q", str(work), str(clone)], check=True)
    return clone


def assert_complete(folder: Path, checkout: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink():
            assert not os.path.isabs(path.readlink()), path
            assert path.resolve(strict=True).is_relative_to(checkout), path


def test_links_lead_somewhere_in_the_checkout(checkout: Path) -> None:
    for name in (TEMPLATE, RECIPE, RECIPE3):
        assert_complete(checkout / name, checkout)
    for page in [*checkout.glob("egs?/speechclip_plus/*/*.md"), checkout / TEMPLATE / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)
    assert "](../../" not in (checkout / RECIPE / "README.md").read_text()


def test_the_template_makes_a_recipe(checkout: Path) -> None:
    script = f"{TEMPLATE}/setup.sh"
    subprocess.run([script, "egs2/test/speechclip1"], cwd=checkout, check=True)
    made = checkout / "egs2" / "test" / "speechclip1"
    assert_complete(made, checkout)
    # ESPnet's CI compares these files of all recipes
    for name in ("cmd.sh", "conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf"):
        for folder in (made, checkout / RECIPE, checkout / TEMPLATE):
            assert (folder / name).read_text() == FILES[f"egs2/TEMPLATE/asr1/{name}"]
    failed = subprocess.run([script, "elsewhere"], cwd=checkout, text=True, capture_output=True)
    assert failed.returncode == 1
    assert "egs2/<corpus>/speechclip1" in failed.stderr


def test_another_folder_is_refused(tmp_path: Path) -> None:
    refused = subprocess.run([SCRIPT, tmp_path], text=True, capture_output=True)
    assert refused.returncode == 1
    assert f"{tmp_path}/egs2/TEMPLATE/asr1/cmd.sh: no such file" in refused.stderr


@pytest.mark.slow
def test_ci_of_espnet_runs_it(checkout: Path) -> None:
    pytest.importorskip("espeakng_loader", reason="pip install '.[mini]'")
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/")}
    commands = [
        ["bash", "ci/test_integration_speechclip.sh"],
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test/espnet2/tasks"],
    ]
    for command in commands:
        done = subprocess.run(
            command,
            cwd=checkout,
            env={**environment, "PYTHONPATH": str(ROOT)} if "pytest" in command else environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        sys.stdout.write(done.stdout)
