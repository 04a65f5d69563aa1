"""Write files atomically: a killed process never leaves half a file."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_FULL = 1 << 20  # bytes


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``, which replaces it when the block succeeds.

    The temporary name keeps the suffix, because ``np.save`` and others append it. Parent
    directories are made. If the block raises, nothing is left behind.

    Raises:
        OSError: If the block raises one; it then names the path. It is ``ENOSPC`` if the disk is
            full, even if the writing library (NumPy, libsndfile, PyTorch) hides that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.part{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None and _is_full(path.parent):
            raise _no_space(path) from error
        if error.errno == errno.ENOSPC or error.filename == str(temporary):
            error.filename = str(path)
        raise
    except RuntimeError as error:
        if _is_full(path.parent):
            raise _no_space(path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _is_full(directory: Path) -> bool:
    return shutil.disk_usage(directory).free < _FULL


def _no_space(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def write_text(path: str | Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
