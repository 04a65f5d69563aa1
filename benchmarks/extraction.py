"""Hidden states of the upstream against those of its bare speech encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.measure import Row, Settings, by_turns
from benchmarks.random_models import export_random_model

SECONDS = 50
RATE = 16000


def rows(settings: Settings) -> Iterator[Row]:
    """The architectures of one attention layer are alike; parallel's is a whole transformer's."""
    size, seconds = ("tiny", 1.0) if settings.quick else ("base", 6.4)
    for architecture in ("hybrid+",) if settings.quick else ("hybrid+", "parallel"):
        directory = settings.work_dir / architecture
        directory.mkdir()
        export_random_model(size, architecture, directory)
        with torch.inference_mode():
            times = by_turns(variants(directory, seconds), turns=settings.turns, seconds=25)
        yield Row(
            f"s3prl upstream {architecture}, HuBERT {size}: 2 utterances of {seconds} s",
            **times,
            bound_is="the bare encoder with all hidden states",
        )


def variants(directory: Any, seconds: float) -> dict[str, Callable[[], Any]]:
    """The upstream and its encoder on the same noise."""
    from s3prl_upstream.expert import UpstreamExpert

    expert = UpstreamExpert(directory / "model").eval()
    torch.manual_seed(0)
    wavs = list(0.1 * torch.randn(2, round(seconds * RATE)))

    def encode() -> Tensor:
        lengths = torch.tensor([len(wav) for wav in wavs])
        return expert.model.speech_encoder.encode(pad_sequence(wavs, batch_first=True), lengths)

    return {"ours": lambda: expert(wavs), "bound": encode}
