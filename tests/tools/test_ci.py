"""What runs elsewhere says the same as what runs here."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import yaml

from espnet_plugin import __version__

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """Every ``run:`` of the workflow."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in steps if "run" in step]


def test_the_workflow_runs_every_part() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    known = re.search(r"^    all\|(.*)\) ;;$", script, re.MULTILINE)
    assert known is not None
    expected = [f"CI_PYTHON=python bash .ci/run {part}" for part in known[1].split("|")]
    assert sorted(commands()) == sorted(expected)


def test_an_unknown_part_is_refused() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "run"), "lints"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "usage: bash .ci/run [lint|docs|wheel|tests|demo|demo3], not 'lints'\n"


def test_the_workflow_tests_every_supported_python() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    supported = re.findall(r"Python :: (3\.\d+)", setup["metadata"]["classifiers"])
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert workflow["jobs"]["tests"]["strategy"]["matrix"]["python"] == supported


def test_the_version_has_a_section_in_the_changelog() -> None:
    assert f"## [{__version__}] - " in (ROOT / "CHANGELOG.md").read_text()
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_commit_needs_what_make_lint_needs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert [hook["entry"] for hook in hooks] == ["make lint"]
