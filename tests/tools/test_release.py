"""What a release says of itself is the same in all places; tools/release.sh asks the changelog."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

import yaml

from espnet_plugin import __version__

ROOT = Path(__file__).parents[2]


def test_one_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: espnet_plugin.__version__"
    assert setup["metadata"]["license"] == citation["license"]


def test_pages_and_notebooks_name_no_wheel_of_a_version() -> None:
    files = subprocess.run(
        ["git", "ls-files", "*.md", "*.ipynb", "*.sh", "Makefile"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    named = [name for name in files if re.search(r"plus-\d[\d.]*-py3", (ROOT / name).read_text())]
    assert named == []
