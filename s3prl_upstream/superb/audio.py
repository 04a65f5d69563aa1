"""Stand-ins for the parts of torchaudio that read files, with soundfile.

Current torchaudio reads with torchcodec only and has no ``sox_effects``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

SILENCE_WINDOW = 0.02  # seconds over which the level is measured


def load(path: str | Path) -> tuple[Tensor, int]:
    """Reads a file as torchaudio.load does: float32 in [-1, 1], (channels, samples), and rate."""
    import soundfile

    samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    return torch.from_numpy(samples).T.contiguous(), rate


def apply_effects_file(path: str | Path, effects: Sequence[Sequence[str]]) -> tuple[Tensor, int]:
    """Reads a file and applies effects, see :func:`apply_effects_tensor`."""
    return apply_effects_tensor(*load(path), effects)


def apply_effects_tensor(
    samples: Tensor, rate: int, effects: Sequence[Sequence[str]]
) -> tuple[Tensor, int]:
    """Applies the sox effects that s3prl's tasks use: channels, rate, gain and silence.

    ``silence 1 T L -1 T L`` cuts everything that stays below L percent of full scale for at least T
    seconds. sox decides sample by sample and keeps a little more around the speech, so its lengths
    differ slightly.

    Raises:
        ValueError: If another effect is asked for.
    """
    import torchaudio.functional

    for name, *arguments in effects:
        if name == "channels" and arguments == ["1"]:
            samples = samples.mean(dim=0, keepdim=True)
        elif name == "rate":
            wanted = int(arguments[0])
            if wanted != rate:
                samples, rate = torchaudio.functional.resample(samples, rate, wanted), wanted
        elif name == "gain":
            samples = (samples * 10 ** (float(arguments[0]) / 20)).clamp(-1, 1)
        elif name == "silence":
            seconds, level = float(arguments[1]), float(arguments[2].rstrip("%")) / 100
            samples = _without_silence(samples, rate, seconds, level)
        else:
            raise ValueError(f"sox effect {name} {' '.join(arguments)}: not implemented")
    return samples, rate


def _without_silence(samples: Tensor, rate: int, seconds: float, level: float) -> Tensor:
    """Removes windows in silent stretches of at least ``seconds``."""
    longest = max(1, round(seconds / SILENCE_WINDOW))
    windows = samples.split(round(SILENCE_WINDOW * rate), dim=1)
    kept: list[Tensor] = []
    for is_loud, stretch in groupby(windows, key=lambda window: bool(window.abs().max() >= level)):
        own = list(stretch)
        if is_loud or len(own) < longest:
            kept += own
    return torch.cat(kept, dim=1) if kept else samples[:, :0]
