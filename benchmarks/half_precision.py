"""The frozen speech encoder in half precision."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.full_size_step import HUBERT, make_batch
from benchmarks.measure import Row, Settings, Spread

SECONDS = 60


def rows(settings: Settings) -> Iterator[Row]:
    """The encoder with products of matrices and convolutions in bfloat16, beside float32, in turn;
    and the worst frame's difference in any layer."""
    from transformers import HubertConfig

    from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
    from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder

    size, layers, utterances = ("tiny", 1, 2) if settings.quick else ("base", 6, 8)
    HubertConfig(**{**HUBERT[size], "num_hidden_layers": layers}).save_pretrained(settings.work_dir)
    torch.manual_seed(0)
    backend = HuggingFaceBackend(model=str(settings.work_dir), random_weights=True)
    encoder = FrozenSpeechEncoder(backend)
    batch = make_batch(utterances, 8)
    states: dict[bool, Tensor] = {}
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(2 if settings.quick else 10):  # the first warms up
        for half in (False, True):
            started = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                states[half] = encoder(batch["speech"], batch["speech_lengths"]).hidden_states
            times[half].append(time.process_time() - started)
    cosine = torch.cosine_similarity(states[True].float(), states[False], dim=-1)
    counted = states[False].abs().sum(dim=-1) > 0  # padded frames are zero
    yield Row(
        f"bfloat16 (autocast): {utterances} utterances, HuBERT base of {layers} layers",
        Spread.of(times[True][1:]),
        bound=Spread.of(times[False][1:]),
        bound_is="in float32, as the package does it",
        note=f"1 - cosine of hidden states up to {float((1 - cosine)[counted].max()):.1g}",
    )
