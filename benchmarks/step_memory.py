"""The memory of a training step, from its shapes alone.

The step runs on tensors without values, from the hidden states on, and what is alive at once is
added up by the operation that made it; nothing is computed. To that come what the process holds
anyway (Python, PyTorch and the model: 1.2 GiB with HuBERT base) and what the allocator leaves
unused.
"""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.full_size_step import CONFIG, build, make_batch
from benchmarks.measure import GIB, Row, Settings, Spread

SECONDS = 60
MOST_KEYWORDS = 16  # of an utterance of 6.4 s at 20 frames a keyword


def rows(settings: Settings) -> Iterator[Row]:
    """The base and large configurations' batches."""
    for config in (CONFIG, CONFIG.with_name("flickr8k_large_hybrid_plus.yaml")):
        size = 2 if settings.quick else None
        step = measure(config, settings.work_dir, batch_size=size)
        padded = measure(config, settings.work_dir, batch_size=size, part_values=sys.maxsize)
        largest = ", ".join(f"{name} {gib:.2f}" for name, gib in step["largest_gib"].items())
        yield Row(
            f"{step['config']}: {step['batch_size']} utterances in {step['parts']} parts",
            Spread.of([step["peak_gib"]]),
            Spread.of([padded["peak_gib"]]),
            "all padded to the longest, hidden states in float32",
            bound=Spread.of([step["states_gib"]]),
            bound_is="the hidden states alone",
            unit="GiB",
            note=f"at the peak by what made it: {largest}",
        )


class LiveTensors(TorchDispatchMode):
    """Adds up the storages that are alive.

    Attributes:
        now: Bytes that are alive.
        peak: The most that ever were.
        at_peak: Those by the operation that made them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.at_peak: Counter[str] = Counter()
        self._by_operation: Counter[str] = Counter()
        self._alive: dict[int, tuple[int, str]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            return MOST_KEYWORDS  # there is no value to look at
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor, str(func.overloadpacket).removeprefix("aten."))
        return result

    def add(self, tensor: Tensor, operation: str) -> None:
        """Counts a tensor's storage, unless it is counted already."""
        storage = tensor.untyped_storage()
        if storage._cdata in self._alive:
            return
        size = storage.nbytes()
        self._alive[storage._cdata] = size, operation
        self._by_operation[operation] += size
        self.now += size
        weakref.finalize(storage, self._free, storage._cdata)
        if self.now > self.peak:
            self.peak, self.at_peak = self.now, self._by_operation.copy()

    def _free(self, key: int) -> None:
        size, operation = self._alive.pop(key)
        self._by_operation[operation] -= size
        self.now -= size


def measure(
    config: Path,
    directory: Path,
    *,
    batch_size: int | None = None,
    part_values: int | None = None,
) -> dict[str, Any]:
    """Memory of the hidden states of a batch, and at the step's peak, in GiB.

    Args:
        config: YAML file.
        directory: For the teachers' files.
        batch_size: Instead of the configuration's own.
        part_values: Frames times dim of a part, instead of the package's ``PART_VALUES``.
    """
    from espnet_plugin.speechclip.parts import PART_VALUES, split_by_length
    from espnet_plugin.speechclip.speech_encoder import SpeechStates
    from espnet_plugin.train.espnet_model import EncodedBatch

    model, args = build(config, directory)
    speechclip = model.train().speechclip
    encoder, images = speechclip.speech_encoder, speechclip.clip.embedding_dim
    size = batch_size or args.batch_size
    lengths = encoder.frame_lengths(make_batch(size, 1)["speech_lengths"])
    limit = (part_values or PART_VALUES) // encoder.dim
    _, parts = split_by_length(lengths, lengths.tolist(), limit=limit)
    dtype = torch.float16 if len(parts) > 1 else torch.float32  # as states_in_parts has them
    with FakeTensorMode(allow_non_fake_inputs=True), LiveTensors() as live:
        states = [
            SpeechStates(
                torch.empty(len(part), encoder.num_layers, part[0], encoder.dim, dtype=dtype),
                torch.empty(len(part), dtype=torch.long),
            )
            for part in parts
        ]
        stored = live.now
        targets = speechclip.target_lengths(torch.cat([part.lengths for part in states]))
        output = speechclip(*states, target_lengths=targets, step=0)
        encoded = EncodedBatch(output, torch.empty(size, images), torch.arange(size), targets)
        del output
        loss = model.objective(encoded)[0]
        del encoded
        loss.backward()
    return {
        "config": config.stem,
        "batch_size": size,
        "parts": len(parts),
        "states_gib": stored / GIB,
        "peak_gib": live.peak / GIB,
        "largest_gib": {name: n / GIB for name, n in live.at_peak.most_common(6)},
    }
