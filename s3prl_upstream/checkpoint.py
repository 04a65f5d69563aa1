"""What ``-k`` may name: a local model, or one on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from espnet_plugin.speechclip.hub import check_hub_reachable, first_line

PACKED = "model.zip"  # a hub repository holds an exported model, or this
WANTED = (
    "an exported model or an ESPnet experiment (directory), a packed model (zip), one of an "
    "experiment's checkpoints (.pth), or the name owner/model of a repository on the hub"
)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def find_checkpoint(ckpt: str | Path | None, *, refresh: bool = False) -> Path:
    """The local file or directory of a model.

    What the hub's cache has is taken as it is, without asking the network whether it has changed.

    Args:
        ckpt: Path, or name of a repository on the hub.
        refresh: Download a repository again.

    Raises:
        ValueError: If nothing is given.
        FileNotFoundError: If there is no such file, and no such repository can be had.
    """
    if ckpt is None or not str(ckpt):
        raise ValueError(
            f"speechclip_plus needs a model (-k in s3prl, path_or_url in ESPnet): {WANTED}"
        )
    path = Path(ckpt).expanduser()
    if path.exists():
        return path
    if not _HUB_NAME.fullmatch(str(ckpt)) or path.suffix in (".zip", ".pth"):
        raise FileNotFoundError(f"{ckpt}: no such file or directory; expected {WANTED}")
    directory = _snapshot(str(ckpt), refresh=refresh)
    packed = directory / PACKED
    return packed if packed.is_file() else directory


def _snapshot(repository: str, *, refresh: bool) -> Path:
    from huggingface_hub import snapshot_download

    if not refresh:
        try:
            return Path(snapshot_download(repository, local_files_only=True))
        except (OSError, ValueError):
            pass  # not in the cache
    try:
        check_hub_reachable()
        return Path(snapshot_download(repository, force_download=refresh))
    except (OSError, ValueError) as error:
        raise FileNotFoundError(
            f"{repository}: no such file or directory here, and no repository of that name in the "
            f"hub's cache or to be downloaded ({first_line(error)}); expected {WANTED}"
        ) from error
