"""Find a corpus's files, or say what was looked for, what was found and what to do."""

from __future__ import annotations

from pathlib import Path

from espnet_plugin.utils.errors import DataError

ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar", ".part")
_MOST = 12  # names in a message


def corpus_root(value: str | Path, *, variable: str, remedy: str) -> Path:
    """The folder that a variable of db.sh names.

    Args:
        value: Value of the variable.
        variable: Name of the variable.
        remedy: What the message advises if it is empty or wrong.

    Raises:
        DataError: If it is empty, or no folder.
    """
    if not str(value):
        raise DataError(
            f"{variable} is not set. Looked for: {variable} in db.sh or in the environment; "
            f"found: nothing. {remedy}"
        )
    root = Path(value).expanduser()
    if not root.is_dir():
        what = "a file, not a folder" if root.exists() else "no such folder"
        raise DataError(f"{variable}={value}: {what}. {remedy}")
    return root


def find_one(root: Path, *names: str, what: str, remedy: str) -> Path:
    """The first of several places under a corpus's folder where a file or folder is not empty.

    Args:
        root: Folder of the corpus.
        names: Places relative to it, in order of preference.
        what: What is looked for, e.g. ``"the captions of Flickr8k"``.
        remedy: What the message advises if it is not there.

    Raises:
        DataError: If it is in none of the places.
    """
    there = [root / name for name in names if (root / name).exists()]
    for path in there:
        if any(path.iterdir()) if path.is_dir() else path.stat().st_size:
            return path
    notes = [f"{what} not found", f"looked for: {', '.join(names)} in {root}"]
    notes.append(f"found there: {contents(root)}")
    if there:
        notes.append(f"empty: {', '.join(str(path.relative_to(root)) for path in there)}")
    packed = [path.name for path in sorted(root.iterdir()) if path.name.endswith(ARCHIVES)]
    if packed:
        notes.append(f"not unpacked, or not downloaded to the end: {', '.join(packed[:_MOST])}")
    raise DataError("; ".join(notes) + f". {remedy}")


def contents(folder: Path) -> str:
    """A short list of the names in a folder, where folders end with a slash."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "nothing"
    more = f", and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
