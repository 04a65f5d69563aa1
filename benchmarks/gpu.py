"""Training steps on a GPU.

Times a step of each Flickr8k configuration: from recordings in both half precisions, with compiled
networks, and from stored hidden states. A step is forward, backward, clipping and Adam, with the
copy of the batch to the GPU.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.full_size_step import CONFIG, build, make_batch
from benchmarks.measure import GIB, MissingInputError, Row, Settings, Spread, peak_memory

LONG_SECONDS = 1500
ARCHITECTURES = ("parallel", "cascaded", "cascaded_plus", "hybrid", "hybrid_plus")
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        config: Name of the configuration.
        precision: A key of ``TYPES``.
        compiled: Whether the networks of the encoder's layers are compiled.
        stored: From hidden states in half precision in the host's memory, not from recordings.
    """

    config: str
    precision: str
    compiled: bool = False
    stored: bool = False


def cases(*, tiny: bool) -> Iterator[Case]:
    """All cases, in the order of the table."""
    for size in ("base",) if tiny else ("base", "large"):
        for architecture in ARCHITECTURES:
            for precision in TYPES:
                yield Case(f"flickr8k_{size}_{architecture}", precision)
    yield Case(CONFIG.stem, "bf16", compiled=True)
    yield Case(CONFIG.stem, "bf16", stored=True)


def long_rows(settings: Settings) -> Iterator[Row]:
    """All cases on the GPU; if quick, tiny models on the CPU."""
    if not settings.quick and not torch.cuda.is_available():
        raise MissingInputError("no GPU here; --quick tries it on the CPU")
    for case in cases(tiny=settings.quick):
        yield measure(case, tiny=settings.quick)


def measure(case: Case, *, tiny: bool) -> Row:
    """One row of the table, or a note that the case does not fit into memory."""
    device = "cpu" if tiny else "cuda"
    with tempfile.TemporaryDirectory() as directory:
        config = CONFIG.with_name(f"{case.config}.yaml")
        model, args = build(config, Path(directory), tiny=tiny)
    model.to(device).train()
    if case.compiled:
        for layer in model.speechclip.speech_encoder.backend.model.encoder.layers:
            layer.feed_forward.compile(dynamic=True, backend="aot_eager" if tiny else "inductor")
    size = 2 if tiny else args.batch_size
    batch = make_batch(size, model.speechclip.clip.embedding_dim)
    if case.stored:
        batch = stored_batch(batch, model)
    source = "stored states" if case.stored else "recordings"
    source += ", compiled" if case.compiled else ""
    what = f"{case.config}, {case.precision}, from {source}: {size} utterances"
    try:
        seconds, peak = time_steps(model, args, batch, case.precision, device=device)
    except torch.OutOfMemoryError:
        return Row(what, Spread.of([float("inf")]), note="out of memory")
    name = "CPU" if tiny else torch.cuda.get_device_name()
    note = f"{name}, the clock's seconds; {size / seconds:.0f} utterances a second; "
    return Row(what, Spread.of([seconds]), note=note + f"peak memory {peak / GIB:.2f} GiB")


def stored_batch(batch: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """The same utterances as hidden states, noise in half precision."""
    encoder = model.speechclip.speech_encoder
    lengths = encoder.frame_lengths(batch["speech_lengths"])
    shape = (len(lengths), int(lengths.max()), encoder.num_layers, encoder.dim)
    states = torch.randn(shape, dtype=torch.float16)
    rest = {name: value for name, value in batch.items() if not name.startswith("speech")}
    return {**rest, "speech_states": states, "speech_states_lengths": lengths}


def time_steps(
    model: Any, args: Any, batch: dict[str, Tensor], precision: str, *, device: str
) -> tuple[float, int]:
    """Seconds per step, with the copy to the device, and peak memory in bytes."""
    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    on_gpu = device == "cuda"
    (optimizer,) = SpeechCLIPTask.build_optimizers(args, model)
    scaler = torch.amp.GradScaler(device, enabled=on_gpu and precision == "fp16")
    trained = [p for p in model.parameters() if p.requires_grad]
    if on_gpu:
        batch = {name: value.pin_memory() for name, value in batch.items()}

    def step() -> Tensor:
        moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        optimizer.zero_grad()
        with torch.autocast(device, TYPES[precision]):
            loss = model(**moved)[0]
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(trained, args.grad_clip)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    for _ in range(2):  # warm up, compile
        float(step())
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    steps = 10 if on_gpu else 1
    started = time.monotonic()
    for _ in range(steps):
        loss = step()
    float(loss)  # waits for the device
    seconds = (time.monotonic() - started) / steps
    return seconds, torch.cuda.max_memory_allocated() if on_gpu else peak_memory()
