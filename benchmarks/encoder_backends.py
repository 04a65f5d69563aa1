"""Ways to run the frozen speech encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.full_size_step import HUBERT, make_batch
from benchmarks.measure import Row, Settings, by_turns

LONG_SECONDS = 150
AS_IT_IS = "fused attention, float32"
Encode = Callable[[Any, Tensor, Tensor], Tensor]


def as_it_is(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """Runs the encoder as the package does."""
    return encoder(speech, lengths).hidden_states


def in_bfloat16(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """Products of matrices and convolutions in half precision."""
    with torch.autocast("cpu", torch.bfloat16):
        return encoder(speech, lengths).hidden_states


def padded(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """Pads all utterances to the longest without masks: the cost of padding, with other results."""
    return encoder(speech, torch.full_like(lengths, speech.size(1))).hidden_states


def one_by_one(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """Runs each utterance alone, without padding."""
    frames = int(encoder.frame_lengths(lengths).max())
    hidden = speech.new_zeros(len(speech), encoder.num_layers, frames, encoder.dim)
    for row, end in enumerate(lengths.tolist()):
        states = encoder(speech[row : row + 1, :end], lengths[row : row + 1]).hidden_states
        hidden[row, :, : states.size(2)] = states[0]
    return hidden


def eager(encoder: Any) -> Any:
    """Attention written out instead of torch's fused one."""
    encoder.backend.model.set_attn_implementation("eager")
    return encoder


VARIANTS: dict[str, tuple[Callable[[Any], Any], Encode]] = {
    AS_IT_IS: (lambda encoder: encoder, as_it_is),
    "attention written out": (eager, as_it_is),
    "bfloat16 (autocast)": (lambda encoder: encoder, in_bfloat16),
    "one utterance at a time": (lambda encoder: encoder, one_by_one),
    "padded to the longest, all counted": (lambda encoder: encoder, padded),
}


def long_rows(settings: Settings) -> Iterator[Row]:
    """Measures all variants in turn on one batch, and the worst frame's difference in any layer."""
    layers, utterances = (1, 2) if settings.quick else (6, 8)
    encoder = build(layers, settings)
    batch = make_batch(utterances, 8)
    speech, lengths = batch["speech"], batch["speech_lengths"]
    states: dict[str, Tensor] = {}

    def keep(name: str, variant: Any, run: Encode) -> None:
        states[name] = run(variant, speech, lengths)

    functions = {
        name: partial(keep, name, change(copy.deepcopy(encoder)), run)
        for name, (change, run) in VARIANTS.items()
    }
    times = by_turns(functions, turns=settings.turns, seconds=120)
    reference = states[AS_IT_IS]
    counted = reference.abs().sum(dim=-1) > 0  # padded frames are zero
    for name, spread in times.items():
        cosine = torch.cosine_similarity(states[name].float(), reference, dim=-1)
        yield Row(
            f"{name}: {utterances} utterances, HuBERT base of {layers} layers",
            spread,
            bound=times[AS_IT_IS],
            bound_is="as the package does it",
            note=f"1 - cosine of hidden states up to {float((1 - cosine)[counted].max()):.1g}",
        )


def build(layers: int, settings: Settings) -> Any:
    """Makes HuBERT base, or a tiny one, with random weights and this many layers."""
    from transformers import HubertConfig

    from espnet_plugin.speechclip.backends.huggingface import HuggingFaceBackend
    from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder

    sizes = HUBERT["tiny" if settings.quick else "base"]
    HubertConfig(**{**sizes, "num_hidden_layers": layers}).save_pretrained(settings.work_dir)
    torch.manual_seed(0)
    model = str(settings.work_dir)
    return FrozenSpeechEncoder(HuggingFaceBackend(model=model, random_weights=True))
