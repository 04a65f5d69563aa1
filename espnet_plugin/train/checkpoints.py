"""ESPnet's checkpoints: written whole or not at all, read without executing anything in them."""

from __future__ import annotations

import datetime
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from espnet2.train.reporter import Reporter

from espnet_plugin.patches import whole_files
from espnet_plugin.teachers.weights import read_pickle

RESUME_POINT = "checkpoint.pth"
_RESUME_PARTS = {"model", "reporter", "optimizers", "schedulers"}
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
# Types that ESPnet 202511's reporter adds to tensors and plain values; none of them runs code.
_STATISTICS: dict[str, Any] = {
    "datetime.timedelta": datetime.timedelta,
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray.scalar": _NUMPY_SCALAR,
    "numpy._core.multiarray.scalar": _NUMPY_SCALAR,
}


def statistics_globals() -> torch.serialization.safe_globals:
    """Lets PyTorch's weights-only reader also accept the statistics of ``checkpoint.pth``."""
    kinds = (np.float64, np.float32, np.int64, np.bool_)
    named = [(value, name) for name, value in _STATISTICS.items()]
    return torch.serialization.safe_globals([*named, *(type(np.dtype(kind)) for kind in kinds)])


def read_checkpoint(path: str | Path) -> Any:
    """Content of ``<n>epoch.pth`` or ``checkpoint.pth``: tensors, plain values and statistics.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or holds anything else; nothing of it was executed.
    """
    path = Path(path)
    with statistics_globals():
        return read_pickle(path, stand_in=_STATISTICS.get)


def read_resume_point(path: str | Path) -> dict[str, Any]:
    """Content of ``checkpoint.pth``.

    Raises:
        ValueError: If training cannot resume from it; the message says what to do.
    """
    path = Path(path)
    try:
        states = read_checkpoint(path)
        missing = _RESUME_PARTS - set(states)
        if missing:
            raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}")
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{error}. Training cannot be resumed from it: move {path.parent} away and start "
            "again; --pretrained_model takes the weights of an epoch"
        ) from error
    return states


def repair_experiment(
    directory: Path, *, criteria: Sequence[Sequence[str]], keep_nbest: int
) -> None:
    """Repairs an experiment after a killed training, before it resumes from ``checkpoint.pth``.

    The last epoch is written again from the resume point, which holds the same weights. The links
    to the latest and the best epochs are set.

    Args:
        directory: Folder of the experiment.
        criteria: Phase, statistic and mode to compare epochs by.
        keep_nbest: Number of best epochs that are averaged at the end.

    Raises:
        ValueError: If an epoch that will be averaged is damaged or missing, or the resume point is.
    """
    for leftover in directory.glob(".*.part.pth"):
        leftover.unlink()
    if not (directory / RESUME_POINT).exists():
        return
    states = read_resume_point(directory / RESUME_POINT)
    reporter = Reporter()
    reporter.load_state_dict(states["reporter"])
    last = directory / f"{reporter.get_epoch()}epoch.pth"
    if not _is_whole(last):
        logging.warning(f"{last} is damaged or missing: written again from {RESUME_POINT}")
        with whole_files():
            torch.save(states["model"], last)
    set_link(directory / "latest.pth", last.name)
    for phase, statistic, mode in criteria:
        if not reporter.has(phase, statistic):
            continue
        best = [directory / f"{n}epoch.pth" for n in reporter.sort_epochs(phase, statistic, mode)]
        for epoch in best[:keep_nbest]:
            if not _is_whole(epoch):
                raise ValueError(
                    f"{epoch}: damaged or missing, and one of the {keep_nbest} best epochs, which "
                    f"are averaged at the end. Restore it, give the --keep_nbest_models and "
                    f"--best_model_criterion of before, or move {directory} away and train again"
                )
        set_link(directory / f"{phase}.{statistic}.best.pth", best[0].name)


def _is_whole(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except (FileNotFoundError, ValueError):
        return False
    return True


def set_link(link: Path, name: str) -> None:
    """Sets a relative link; one exists at any time."""
    if link.is_symlink() and os.readlink(link) == name:
        return
    temporary = link.with_name(f".{link.stem}.{os.getpid()}.part.pth")
    temporary.symlink_to(name)
    os.replace(temporary, link)
