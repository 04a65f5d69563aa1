"""Puts the recipes into a checkout of ESPnet, as a pull request would bring them.

    python -m tools.espnet_contribution ../espnet

The recipes are copied from here. ``contrib/espnet`` has what only ESPnet needs. What ESPnet's
recipes share is linked or copied from the checkout. A second call replaces what the first wrote.
docs/contributing-to-espnet.md describes the result, and the lines to add by hand.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
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
# ESPnet's CI requires these to be the same in all recipes
SHARED = ("cmd.sh", "conf/slurm.conf", "conf/queue.conf", "conf/pbs.conf")


def write_contribution(checkout: Path) -> None:
    """Writes all of it.

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


def _copy_files(checkout: Path) -> dict[Path, Path]:
    """Copies the files and returns where each one went."""
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
    """Points the pages' links to the copies. Where a target stays here, only the text is kept."""
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, help="of ESPnet")
    folder: Path = parser.parse_args().checkout
    try:
        write_contribution(folder)
    except FileNotFoundError as error:
        sys.exit(f"espnet_contribution: {error}")
    print(f"written; in {folder}, run 'pre-commit run' to format and 'git status' to list it")
    print("add the lines of docs/contributing-to-espnet.md by hand")
