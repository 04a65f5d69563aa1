"""Changes to ESPnet and PyTorch in the running process; no file on the disk is edited.

Each patch is a context manager: it undoes its change at the end of the block. ``Why`` says which
libraries do not work together or lack an option, and ``Until`` when the patch can go. Patches for
s3prl and ESPnet's tasks are in :mod:`s3prl_upstream.patches`. Faults that only a changed file can
mend are in ``docs/espnet_patches``, and the recipe needs none of them.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet_plugin.utils.atomic import atomic_path

_FORCE, _NEVER = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_guard = threading.Lock()
_before: list[dict[str, str | None]] = []  # of each running block; the first has what was set


@contextlib.contextmanager
def weights_only_loading() -> Iterator[None]:
    """Every ``torch.load`` of this process and its children is weights-only, whatever it asks for.

    It sets PyTorch's own variable. With several threads, the last one that leaves resets it.

    Why:
        ESPnet, s3prl and transformers call ``torch.load`` with ``weights_only=False``, which runs
        code of a file.

    Until:
        ESPnet 202511 is no longer supported, and the others load weights only.
    """
    with _guard:
        if not _before:
            _before.append({name: os.environ.pop(name, None) for name in (_FORCE, _NEVER)})
            os.environ[_FORCE] = "1"
        else:
            _before.append({})
    try:
        yield
    finally:
        with _guard:
            if len(_before) > 1:
                _before.pop()
            else:
                for name, value in _before.pop().items():
                    os.environ.pop(name, None)
                    if value is not None:
                        os.environ[name] = value


@contextlib.contextmanager
def whole_files() -> Iterator[None]:
    """``torch.save`` writes a file beside the old one, then renames it.

    Why:
        A kill or a full disk would leave half a checkpoint. ESPnet's trainer calls ``torch.save``
        and has no other place for this.

    Until:
        ESPnet's trainer writes checkpoints atomically.
    """
    import torch

    save = torch.save

    def save_whole(content: Any, target: Any, *args: Any, **options: Any) -> None:
        if not isinstance(target, str | Path):
            return save(content, target, *args, **options)
        with atomic_path(target) as temporary, temporary.open("wb") as stream:
            save(content, stream, *args, **options)
            stream.flush()
            os.fsync(stream.fileno())

    torch.save = save_whole  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.save = save  # type: ignore[assignment]


@contextlib.contextmanager
def configuration_elsewhere(experiment: str | Path, folder: Path) -> Iterator[None]:
    """ESPnet's tasks write the ``config.yaml`` of an experiment into another folder.

    Why:
        They write it in place and before they train. A training that resumes and then fails, or is
        killed, would leave other options beside finished weights, or half a file.

    Until:
        ESPnet's tasks write it with the first checkpoint.
    """
    from espnet2.tasks import abs_task

    def path(*parts: str | Path) -> Path:
        return folder if parts == (experiment,) else Path(*parts)

    abs_task.Path = path
    try:
        yield
    finally:
        abs_task.Path = Path
