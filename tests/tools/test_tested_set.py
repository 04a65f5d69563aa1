"""The lock of the tested set."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def direct_requirements() -> set[str]:
    """Packages that setup.cfg names for every installation, or for what the extra ``all`` takes."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    chosen = re.search(r"\[(.*)\]", extras["all"])[1].split(",")
    text = "\n".join([setup["options"]["install_requires"], *(extras[name] for name in chosen)])
    lines = [line.strip() for line in text.split("\n") if not line.lstrip().startswith("#")]
    requirements = [Requirement(line) for line in lines if line]
    there = {"python_version": "3.11"}
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate(there)
    } - {"speechclip-plus"}


def versions(file: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([^;\s]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_the_lock_is_of_the_tested_set() -> None:
    tested, lock = versions("constraints/py311.txt"), versions("constraints/py311.lock")
    assert direct_requirements() <= lock.keys()
    both = lock.keys() & tested.keys()
    assert {name: lock[name] for name in both} == {name: tested[name] for name in both}


def test_every_file_of_the_lock_has_a_hash() -> None:
    text = (ROOT / "constraints" / "py311.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines and all(re.search(r" --hash=sha256:[0-9a-f]{64}", line) for line in lines)
