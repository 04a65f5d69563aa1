"""Ways to run the frozen speech encoder, timed by turns, and how far their hidden states differ.

The sizes are HuBERT base's with random weights and fewer layers; differences grow with the layers.

Example:
    python -m benchmarks.encoder_backends --layers 4 --utterances 8
"""

from __future__ import annotations

import copy
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.full_size_step import make_batch
from benchmarks.measure import get_parser, show

Encode = Callable[[Any, Tensor, Tensor], Tensor]


def as_it_is(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """What the package does."""
    return encoder(speech, lengths).hidden_states


def in_bfloat16(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """Products of matrices and convolutions in half precision."""
    with torch.autocast("cpu", torch.bfloat16):
        return encoder(speech, lengths).hidden_states


def padded(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """All utterances as long as the longest, no masks: what padding costs; another result."""
    return encoder(speech, torch.full_like(lengths, speech.size(1))).hidden_states


def one_by_one(encoder: Any, speech: Tensor, lengths: Tensor) -> Tensor:
    """Without any padding."""
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


def channels_last(encoder: Any) -> Any:
    """Convolutions with the channels innermost, over a dimension of height 1."""
    for module in list(encoder.backend.model.feature_extractor.modules()):
        if isinstance(module, torch.nn.Conv1d):
            wide = torch.nn.Conv2d(
                module.in_channels,
                module.out_channels,
                (1, module.kernel_size[0]),
                stride=(1, module.stride[0]),
                bias=module.bias is not None,
            )
            wide.weight = torch.nn.Parameter(module.weight[:, :, None], requires_grad=False)
            wide.to(memory_format=torch.channels_last)
            module.forward = lambda x, wide=wide: wide(
                x[:, :, None].to(memory_format=torch.channels_last)
            )[:, :, 0]
    return encoder


def compiled(encoder: Any) -> Any:
    """torch.compile over each layer's feed-forward network."""
    for layer in encoder.backend.model.encoder.layers:
        layer.feed_forward.compile(dynamic=True)
    return encoder


VARIANTS: dict[str, tuple[Callable[[Any], Any], Encode]] = {
    "as it is: fused attention, float32": (lambda encoder: encoder, as_it_is),
    "attention written out": (eager, as_it_is),
    "bfloat16 (autocast)": (lambda encoder: encoder, in_bfloat16),
    "convolutions channels-last": (channels_last, as_it_is),
    "torch.compile of the feed-forward networks": (compiled, as_it_is),
    "one utterance at a time": (lambda encoder: encoder, one_by_one),
    "padded to the longest, all counted": (lambda encoder: encoder, padded),
}


def build(layers: int, directory: Path) -> Any:
    """HuBERT base of so many layers with random weights."""
    from transformers import HubertConfig

    from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder

    HubertConfig(num_hidden_layers=layers).save_pretrained(directory)
    torch.manual_seed(0)
    return FrozenSpeechEncoder("huggingface", model=str(directory), random_weights=True)


def measure(layers: int, utterances: int, turns: int) -> list[dict[str, Any]]:
    """Processor seconds and differences of each variant."""
    with tempfile.TemporaryDirectory() as directory:
        encoder = build(layers, Path(directory))
    batch = make_batch(utterances, 8)
    speech, lengths = batch["speech"], batch["speech_lengths"]
    made = {name: (change(copy.deepcopy(encoder)), run) for name, (change, run) in VARIANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in made}
    states: dict[str, Tensor] = {}
    for turn in range(turns + 1):
        for name, (variant, run) in made.items():
            started = time.process_time()
            states[name] = run(variant, speech, lengths)
            if turn:  # the first warms up
                times[name].append(time.process_time() - started)
    reference = states[next(iter(made))]
    rows = []
    for name in made:
        cosine = torch.cosine_similarity(states[name].float(), reference, dim=-1)
        counted = reference.abs().sum(dim=-1) > 0  # padded frames are zero
        rows.append(
            {
                "variant": name,
                "seconds": statistics.median(times[name]),
                "one_minus_cosine": float((1 - cosine)[counted].max()),
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """In Markdown; times relative to the first."""
    first = rows[0]["seconds"]
    lines = ["| variant | time | largest 1 - cosine |", "|---|---|---|"]
    for row in rows:
        ratio, difference = row["seconds"] / first, row["one_minus_cosine"]
        lines.append(f"| {row['variant']} | {ratio:.2f} | {difference:.1g} |")
    return "\n".join(lines)


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures all variants on the processor, one thread."""
    parser = get_parser(__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--utterances", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args(cmd)
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # random weights are told of
    rows = measure(args.layers, args.utterances, args.turns)
    show(table(rows), rows, args.output)


if __name__ == "__main__":
    main()
