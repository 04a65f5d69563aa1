"""Cost of training on a GPU, with random weights of real sizes.

Times a step of each Flickr8k configuration: from recordings in both half precisions, with compiled
networks, and from stored hidden states. The training time of a Flickr8k model follows from these.

Example:
    bash benchmarks/gpu.sh                       # the tests in tests/gpu first
    python -m benchmarks.gpu --device cpu --tiny # a trial
"""

from __future__ import annotations

import json
import logging
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.full_size_step import build, make_batch
from benchmarks.measure import GIB, get_parser, peak_memory

CONFIGURATIONS = Path(__file__).parents[1] / "egs2" / "speechclip_plus" / "conf" / "tuning"
ARCHITECTURES = ("parallel", "cascaded", "cascaded_plus", "hybrid", "hybrid_plus")
TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
RELEASED_UPDATES = 9476  # of the released Flickr8k base hybrid+
TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 1, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
TINY_HUBERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
}


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
    best = "flickr8k_base_hybrid_plus"
    for size in ("base",) if tiny else ("base", "large"):
        for architecture in ARCHITECTURES:
            for precision in TYPES:
                yield Case(f"flickr8k_{size}_{architecture}", precision)
    yield Case(best, "bf16", compiled=True)
    yield Case(best, "bf16", stored=True)


def build_case(case: Case, directory: Path, *, device: str, tiny: bool) -> tuple[Any, Any]:
    """Model and options."""
    options = []
    if tiny:
        from transformers import HubertConfig

        HubertConfig(**TINY_HUBERT).save_pretrained(directory / "tiny")
        (directory / "clip.json").write_text(json.dumps(TINY_CLIP))
        options += ["--speech_encoder_conf", f"model={directory / 'tiny'}"]
        options += ["--clip_conf", f"model={directory / 'clip.json'}"]
    model, args = build(CONFIGURATIONS / f"{case.config}.yaml", directory, options=options)
    model.to(device).train()
    if case.compiled:
        for layer in model.speechclip.speech_encoder.backend.model.encoder.layers:
            layer.feed_forward.compile(dynamic=True, backend="aot_eager" if tiny else "inductor")
    return model, args


def stored_batch(batch: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """The same utterances as hidden states, noise in half precision."""
    encoder = model.speechclip.speech_encoder
    lengths = encoder.frame_lengths(batch["speech_lengths"])
    shape = (len(lengths), int(lengths.max()), encoder.num_layers, encoder.dim)
    states = torch.randn(shape, dtype=torch.float16)
    rest = {name: value for name, value in batch.items() if not name.startswith("speech")}
    return {**rest, "speech_states": states, "speech_states_lengths": lengths}


def time_steps(
    model: Any, args: Any, batch: dict[str, Tensor], case: Case, *, device: str, steps: int
) -> dict[str, float]:
    """Seconds per step, with the copy to the device, and peak memory in GiB."""
    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    on_gpu = device == "cuda"
    (optimizer,) = SpeechCLIPTask.build_optimizers(args, model)
    scaler = torch.amp.GradScaler(device, enabled=on_gpu and case.precision == "fp16")
    if on_gpu:
        batch = {name: value.pin_memory() for name, value in batch.items()}

    def step() -> Tensor:
        moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
        optimizer.zero_grad()
        with torch.autocast(device, TYPES[case.precision]):
            loss = model(**moved)[0]
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(trained, args.grad_clip)
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    for _ in range(2):  # warm up, compile
        loss = float(step())
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    started = time.monotonic()
    for _ in range(steps):
        last = step()
    loss = float(last)  # waits for the device
    seconds = (time.monotonic() - started) / steps
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_memory()
    return {"seconds": seconds, "peak_gib": peak / GIB, "loss": loss}


def measure(case: Case, *, device: str, tiny: bool, steps: int) -> dict[str, Any]:
    """One row of the table, or a note that the case does not fit into memory."""
    with tempfile.TemporaryDirectory() as directory:
        model, args = build_case(case, Path(directory), device=device, tiny=tiny)
    size = 4 if tiny else args.batch_size
    batch = make_batch(size, model.speechclip.clip.embedding_dim)
    if case.stored:
        batch = stored_batch(batch, model)
    row: dict[str, Any] = {**asdict(case), "batch_size": size, "accum_grad": args.accum_grad}
    try:
        row |= time_steps(model, args, batch, case, device=device, steps=steps)
    except torch.OutOfMemoryError:
        return {**row, "note": "out of memory"}
    if case.stored:
        hours = row["seconds"] * args.accum_grad * RELEASED_UPDATES / 3600
        row["note"] = f"{RELEASED_UPDATES} updates, as the released model has: {hours:.2f} h"
    return row


def markdown(rows: Sequence[dict[str, Any]], machine: str) -> str:
    """The table."""
    lines = [
        f"# Training on {machine}",
        "",
        "Random weights of the real sizes; a step is forward, backward, clipping and Adam, "
        "`python -m benchmarks.gpu`.",
        "",
        "| configuration | precision | from | batch | seconds a step | utterances a second "
        "| peak memory (GiB) | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        source = "stored states" if row["stored"] else "recordings"
        source += ", compiled" if row["compiled"] else ""
        measured = ["–"] * 3
        if "seconds" in row:
            speed = row["batch_size"] / row["seconds"]
            measured = [f"{row['seconds']:.3f}", f"{speed:.0f}", f"{row['peak_gib']:.2f}"]
        cells = [row["config"], row["precision"], source, row["batch_size"], *measured]
        lines.append("| " + " | ".join(map(str, [*cells, row.get("note", "")])) + " |")
    return "\n".join(lines) + "\n"


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures all cases and writes gpu.json and gpu.md after each."""
    parser = get_parser(__doc__)
    parser.set_defaults(output=Path("exp/gpu"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny models: does it run?")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each case")
    args = parser.parse_args(cmd)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU here; --device cpu --tiny shows whether it runs")
    logging.disable(logging.WARNING)  # libraries warn about random weights
    name = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or "CPU"
    machine = f"{name}, PyTorch {torch.__version__}" + (", tiny models" if args.tiny else "")
    args.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for case in cases(tiny=args.tiny):
        rows.append(measure(case, device=args.device, tiny=args.tiny, steps=args.steps))
        result = json.dumps({"machine": machine, "rows": rows}, indent=2)
        (args.output / "gpu.json").write_text(result + "\n", encoding="utf-8")
        (args.output / "gpu.md").write_text(markdown(rows, machine), encoding="utf-8")
    print(markdown(rows, machine))


if __name__ == "__main__":
    main()
