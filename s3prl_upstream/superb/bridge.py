"""What s3prl's released runner misses in current packages, one function per gap.

Nothing of s3prl or of other packages is edited: names that are gone are put back in this process,
and only where they are missing. Every function returns whether there was something to do.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from s3prl_upstream.espnet_gaps import count_edits_with_torchaudio
from s3prl_upstream.import_hook import after_import
from s3prl_upstream.superb import audio, ctc_corpora

logger = logging.getLogger(__name__)


def bridge(cache: str | Path) -> list[str]:
    """Closes all gaps; called before s3prl's runner is imported.

    Args:
        cache: Directory of this experiment for the file lists that two tasks keep.

    Returns:
        Names of the gaps that had to be closed here.
    """
    closed = [gap.__name__ for gap in GAPS if gap()]
    for task, keep in (("voxceleb1", keep_sid_lists), ("sv_voxceleb1", keep_asv_lengths)):
        keep_there = functools.partial(keep, Path(cache).absolute())
        after_import(f"s3prl.downstream.{task}.dataset", keep_there)
    if closed:
        logger.info(f"bridged in s3prl's runner: {', '.join(closed)}")
    return closed


def hub_login() -> bool:
    """huggingface_hub 1.0 dropped HfFolder and Repository, and the login with a password.

    The runner imports the first two always and logs in for ``--hub huggingface``. A token, where a
    repository needs one, comes from ``hf auth login``.
    """
    import huggingface_hub

    missing = [name for name in ("HfFolder", "Repository") if not hasattr(huggingface_hub, name)]
    for name in missing:
        setattr(huggingface_hub, name, _gone(f"huggingface_hub.{name}"))
    if "HfFolder" in missing:
        huggingface_hub.HfFolder.save_token = staticmethod(lambda token: None)
    needs_login = not hasattr(huggingface_hub.HfApi, "login")
    if needs_login:
        huggingface_hub.HfApi.login = lambda self, **_: None
    return bool(missing) or needs_login


def hub_download() -> bool:
    """snapshot_download lost ``use_auth_token``, and its second argument is no revision any more.

    A directory on this machine is taken as it is.
    """
    import huggingface_hub

    current = huggingface_hub.snapshot_download

    @functools.wraps(current)
    def snapshot_download(repository: str, *arguments: Any, **options: Any) -> str:
        if "use_auth_token" not in options:
            return current(repository, *arguments, **options)
        if Path(repository).is_dir():
            return str(Path(repository).absolute())
        return current(repository, revision=arguments[0] if arguments else None)

    huggingface_hub.snapshot_download = snapshot_download
    return True


def tensorboard() -> bool:
    """The runner logs with tensorboardX; torch's own writer has the same methods."""
    if _has("tensorboardX"):
        return False
    if _has("tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    else:
        logger.warning("tensorboard is not installed: training curves are not written")
        SummaryWriter = _SilentWriter
    _add_module("tensorboardX", SummaryWriter=SummaryWriter)
    return True


def audio_files() -> bool:
    """torchaudio 2.9 reads files with torchcodec only."""
    import torchaudio

    if _has("torchcodec"):
        return False
    torchaudio.load = audio.load
    return True


def sox_effects() -> bool:
    """torchaudio 2.9 has no sox_effects, with which KS, ASV and QbE read their files."""
    import torchaudio

    if _has("torchaudio.sox_effects"):
        return False
    torchaudio.sox_effects = _add_module(
        "torchaudio.sox_effects",
        apply_effects_file=audio.apply_effects_file,
        apply_effects_tensor=audio.apply_effects_tensor,
    )
    return True


def sox() -> bool:
    """ASV imports a class of pysox, which it does not use."""
    if _has("sox"):
        return False
    _add_module("sox", Transformer=_gone("sox.Transformer"))
    return True


def catalyst() -> bool:
    """KS imports a sampler of catalyst, which it uses in distributed training only."""
    if _has("catalyst"):
        return False
    _add_module("catalyst")
    _add_module("catalyst.data")
    _add_module(
        "catalyst.data.sampler", DistributedSamplerWrapper=_gone("DistributedSamplerWrapper")
    )
    return True


def edit_distance() -> bool:
    """PR, ASR and SF count errors with editdistance, which not every Python has a build of."""
    if _has("editdistance"):
        return False
    count_edits_with_torchaudio(_add_module("editdistance"))
    return True


def ctc_corpus_modules() -> bool:
    """The wheel lacks ``downstream/ctc/corpus``: PR and SF have no data sets there."""
    name = "s3prl.downstream.ctc.corpus"
    if _has(name):
        return False
    _add_module(name)
    _add_module(f"{name}.libriphone", LibriPhoneDataset=ctc_corpora.LibriPhoneDataset)
    _add_module(f"{name}.snips", SnipsDataset=ctc_corpora.SnipsDataset)
    return True


def checkpoints() -> bool:
    """torch 2.6 loads nothing but tensors and plain values; a checkpoint holds its arguments."""
    torch.serialization.add_safe_globals([argparse.Namespace])
    return True


def cuda_calls() -> bool:
    """ASV moves its masks with ``.cuda()`` even on a machine without one."""
    if torch.cuda.is_available():
        return False
    torch.Tensor.cuda = lambda self, *_, **__: self
    return True


GAPS: tuple[Callable[[], bool], ...] = (
    hub_login,
    hub_download,
    tensorboard,
    audio_files,
    sox_effects,
    sox,
    catalyst,
    edit_distance,
    ctc_corpus_modules,
    checkpoints,
    cuda_calls,
)


def keep_sid_lists(cache: Path, dataset: ModuleType) -> None:
    """SID keeps its file lists inside the installed package, whatever the data: a stale list of
    another corpus would be taken. They go to the experiment."""
    dataset.CACHE_PATH = str(cache / "voxceleb1")


def keep_asv_lengths(cache: Path, dataset: ModuleType) -> None:
    """ASV keeps the files' lengths beside its module, and measures them in 12 processes that each
    import everything anew: they go to the experiment, and threads do it."""
    import joblib

    (cache / "sv_voxceleb1").mkdir(parents=True, exist_ok=True)
    dataset.__file__ = str(cache / "sv_voxceleb1" / "dataset.py")
    dataset.Parallel = lambda n_jobs: joblib.Parallel(
        n_jobs=min(n_jobs, os.cpu_count() or 1), prefer="threads"
    )


class _SilentWriter:
    """A tensorboard writer that writes nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def _gone(name: str) -> type:
    """A class that says what is missing when it is used."""

    def refuse(self: Any, *_: Any, **__: Any) -> None:
        raise RuntimeError(f"{name} is not installed here, or no longer exists")

    return type(name.rsplit(".", 1)[-1], (), {"__init__": refuse})


def _has(name: str) -> bool:
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def _add_module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content, __path__=[])
    sys.modules[name] = module
    return module
