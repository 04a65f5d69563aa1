"""Put the recipes into a checkout of ESPnet, as a pull request would bring them.

    python -m tools.espnet_contribution ../espnet

The recipes are copied from here. ``contrib/espnet`` has what only ESPnet needs. What ESPnet's
recipes share is linked or copied from the checkout. A second call replaces what the first wrote.
docs/contributing-to-espnet.md describes the result.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEMPLATE = "egs2/TEMPLATE/speechclip1"
RECIPE = "egs2/speechclip_plus/speechclip1"
RECIPE3 = "egs3/speechclip_plus/speechclip"
# from here -> there; folders with all that git knows in them
COPIES = {
    "contrib/espnet": ".",
    "egs2/speechclip_plus/speechclip.sh": f"{TEMPLATE}/speechclip.sh",
    "egs2/speechclip_plus/evaluate.sh": f"{TEMPLATE}/evaluate.sh",
    "egs2/speechclip_plus/scripts": f"{TEMPLATE}/scripts",
    "egs2/speechclip_plus/conf/decode.yaml": f"{TEMPLATE}/conf/decode.yaml",
    "egs2/speechclip_plus/run.sh": f"{RECIPE}/run.sh",
    "egs2/speechclip_plus/conf": f"{RECIPE}/conf",
    "egs2/speechclip_plus/local": f"{RECIPE}/local",
    "egs2/speechclip_plus/README.md": f"{RECIPE}/README.md",
    "egs2/speechclip_plus/RESULTS.md": f"{RECIPE}/RESULTS.md",
    "egs3/speechclip_plus/run.py": f"{RECIPE3}/run.py",
    "egs3/speechclip_plus/conf": f"{RECIPE3}/conf",
    "egs3/speechclip_plus/README.md": f"{RECIPE3}/README.md",
}
# ESPnet's CI wants these to be the same in all recipes
SHARED = ("cmd.sh", "conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf")
CORPORA = ("FLICKR8K", "SPOKENCOCO", "MSCOCO")
README_ROW = (
    "| speechclip_plus | Flickr8k Audio Caption Corpus, SpokenCOCO | Speech-image retrieval | ENG "
    "| https://arxiv.org/abs/2402.06959 | needs the package speechclip-plus |"
)
INTEGRATION = "./ci/test_integration_espnet2.sh"
OWN_INTEGRATION = "./ci/test_integration_speechclip.sh"


def write_contribution(checkout: Path) -> list[str]:
    """Writes all of it and returns what you must edit by hand, because its place was not found.

    Raises:
        FileNotFoundError: If the folder is not a checkout of ESPnet.
    """
    template = checkout / "egs2" / "TEMPLATE" / "asr1"
    for name in (*SHARED, "path.sh", "db.sh"):
        if not (template / name).is_file():
            raise FileNotFoundError(f"{template / name}: no such file; name a checkout of ESPnet")
    for folder in (TEMPLATE, RECIPE, RECIPE3):
        if (checkout / folder).exists():
            shutil.rmtree(checkout / folder)
    copied = _copy_files(checkout)
    _mend_links(copied)
    for folder in (TEMPLATE, RECIPE):
        for name in SHARED:
            shutil.copy(template / name, checkout / folder / name)
    shutil.copy(checkout / TEMPLATE / "local" / "path.sh", checkout / RECIPE / "local" / "path.sh")
    _make_symlinks(checkout)
    edits: dict[str, Callable[[str], str]] = {
        "egs2/TEMPLATE/asr1/db.sh": _with_corpora,
        "egs2/README.md": _with_row,
        ".github/workflows/ci_on_ubuntu.yml": _with_ci_step,
    }
    return [name for name, edit in edits.items() if not _edit(checkout / name, edit)]


def _copy_files(checkout: Path) -> dict[Path, Path]:
    """Copies; returns where each file came to."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z", *COPIES],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    copied = {}
    for source, target in COPIES.items():
        for name in listed:
            if name == source or name.startswith(f"{source}/"):
                place = checkout / target / os.path.relpath(name, source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place, follow_symlinks=False)
                copied[ROOT / name] = Path(os.path.normpath(place))
    return copied


def _make_symlinks(checkout: Path) -> None:
    links = {f"{TEMPLATE}/{name}": f"../asr1/{name}" for name in ("path.sh", "db.sh")}
    for name in ("speechclip.sh", "evaluate.sh", "scripts"):
        links[f"{RECIPE}/{name}"] = f"../../TEMPLATE/speechclip1/{name}"
    for name in ("path.sh", "db.sh", "utils", "steps", "pyscripts"):
        links[f"{RECIPE}/{name}"] = f"../../TEMPLATE/asr1/{name}"
    for name in ("speechclip.sh", "scripts", "path.sh", "cmd.sh", "db.sh", "utils", "local"):
        links[f"{RECIPE3}/{name}"] = f"../../../{RECIPE}/{name}"
    for name in ("tuning", "slurm.conf"):
        links[f"{RECIPE3}/conf/{name}"] = f"../../../../{RECIPE}/conf/{name}"
    for place, target in links.items():
        (checkout / place).unlink(missing_ok=True)
        (checkout / place).symlink_to(target)


def _mend_links(copied: dict[Path, Path]) -> None:
    """Links of pages follow their targets; of those that stay here, only the text is kept."""
    for source, page in copied.items():
        if page.suffix != ".md" or ROOT / "contrib" in source.parents:
            continue

        def mended(link: re.Match[str], source: Path = source, page: Path = page) -> str:
            image, text, target = link.groups()
            if re.match("https?:|#", target):
                return link[0]
            path, _, anchor = target.partition("#")
            place = copied.get(Path(os.path.normpath(source.parent / path)))
            if place is None:
                return "" if image else text
            anchor = f"#{anchor}" if anchor else ""
            return f"{image}[{text}]({os.path.relpath(place, page.parent)}{anchor})"

        content = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"(!?)\[([^]]*)\]\(([^)]+)\)", mended, content), encoding="utf-8")


def _edit(path: Path, edit: Callable[[str], str]) -> bool:
    """Whether a file could be edited, or had been."""
    content = path.read_text(encoding="utf-8") if path.is_file() else ""
    try:
        edited = edit(content)
    except LookupError:
        return False
    path.write_text(edited, encoding="utf-8")
    return True


def _insert(lines: list[str], new: str, key: str, keys: list[str | None]) -> None:
    """Puts a line before the first whose key is greater, or behind the last that has one."""
    places = [number for number, other in enumerate(keys) if other is not None]
    after = [number for number in places if str(keys[number]) > key]
    if not places:
        raise LookupError(key)
    lines.insert(after[0] if after else places[-1] + 1, new)


def _with_corpora(content: str) -> str:
    lines = content.splitlines()
    for name in CORPORA:
        found = [re.match("([A-Z][A-Z0-9_]*)=", line) for line in lines]
        if not any(match and match[1] == name for match in found):
            own = f"{name}=${{{name}:-}}"  # as the recipe's page says, the environment wins
            _insert(lines, own, name, [match and match[1] for match in found])
    return "\n".join(lines) + "\n"


def _with_row(content: str) -> str:
    if README_ROW in content:
        return content
    lines = content.splitlines()
    rows = [re.match(r"\| *([a-z0-9]\S*) *\|", line) for line in lines]
    _insert(lines, README_ROW, "speechclip_plus", [row and row[1] for row in rows])
    return "\n".join(lines) + "\n"


def _with_ci_step(content: str) -> str:
    if OWN_INTEGRATION in content:
        return content
    step = re.search(rf"^( *)- name: .*\n(?:\1 .*\n)*?\1 +run: {INTEGRATION}\n", content, re.M)
    if step is None:
        raise LookupError(INTEGRATION)
    indent = step[1]
    own = f"{indent}- name: test speechclip integration\n{indent}  run: {OWN_INTEGRATION}\n"
    return content[: step.end()] + own + content[step.end() :]


def main() -> None:
    """Writes it and prints what is left to do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    checkout: Path = parser.parse_args().checkout
    try:
        by_hand = write_contribution(checkout)
    except FileNotFoundError as error:
        sys.exit(f"espnet_contribution: {error}")
    for name in by_hand:
        print(f"edit by hand: {checkout / name}")
    print(f"written; in {checkout}, 'pre-commit run' formats and 'git status' lists it")


if __name__ == "__main__":
    main()
