"""A training step at real size.

A dry run of a configuration. The speech encoder and CLIP are built with the sizes of the released
teachers and random weights, so nothing is downloaded. Steps run as in training: forward, backward,
clipping, Adam. The first gets its memory from the system, so the second is timed; time, peak memory
and arithmetic are this machine's processor's. ``benchmarks.plan`` says what GPUs would need.

Example:
    python -m benchmarks.full_size_step \
        --config egs2/speechclip_plus/conf/tuning/flickr8k_base_hybrid_plus.yaml
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import (
    GIB,
    Row,
    Settings,
    Spread,
    get_parser,
    peak_memory,
    show,
    usage_of,
)
from benchmarks.random_models import HUBERT

SAMPLING_RATE = 16000
MEAN_SECONDS = 4.33  # of SpokenCOCO's test recordings
LONGEST_SECONDS = 6.4  # where training crops
SUBWORDS = 11  # of a caption
VOCABULARIES = {"flickr8k": 8112, "spokencoco": 19787}
PICTURES = {"flickr8k": 6000, "spokencoco": 113_287}
ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "egs2/speechclip_plus"
CONFIG = RECIPE / "conf/tuning/flickr8k_base_hybrid_plus.yaml"
SECONDS = 230
LONG_SECONDS = 450


def rows(settings: Settings) -> Iterator[Row]:
    """The base configuration's batch."""
    yield row(CONFIG, settings)


def long_rows(settings: Settings) -> Iterator[Row]:
    """The large configuration's batch."""
    yield row(CONFIG.with_name("flickr8k_large_hybrid_plus.yaml"), settings)


def row(config: Path, settings: Settings) -> Row:
    """One step on all cores, in its own process with its own memory peak and the recipe's
    environment."""
    output = settings.work_dir / "step.json"
    command = ["bash", "-c", '. ./path.sh && exec "$@"', "bash"]
    command += [sys.executable, "-m", "benchmarks.full_size_step", "--config", config]
    command += ["--output", output]
    if settings.quick:
        command += ["--batch_size", 2]
    usage_of(command, cwd=RECIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    step = json.loads(output.read_text())
    return Row(
        f"{step['config']}: {step['batch_size']} utterances, {step['audio_seconds']:,.0f} s",
        Spread.of([step["seconds"]]),
        bound=Spread.of([step["encoder_seconds"]]),
        bound_is="its frozen encoder's forward pass",
        note=f"{step['threads']} threads, the clock's seconds; peak memory "
        f"{step['memory_peak_gib']:.1f} GiB; {step['parameters_million']:.0f} M parameters, "
        f"{step['trained_million']:.1f} M of them trained; {step['tera_flop']:.1f} TFLOP, "
        f"{step['encoder_tera_flop']:.1f} of them the encoder",
    )


def clock() -> float:
    """Processor time with one thread, else wall time."""
    return time.process_time() if torch.get_num_threads() == 1 else time.monotonic()


def time_encoder(encoder: torch.nn.Module) -> list[float]:
    """Records the seconds of each later batch of a frozen encoder."""
    encode, times = encoder.in_parts, []

    def in_parts(*args: Any, **options: Any) -> Any:
        started = clock()
        states = encode(*args, **options)
        times.append(clock() - started)
        return states

    vars(encoder)["in_parts"] = in_parts
    return times


def build(config: Path, directory: Path, *, options: Sequence[str] = ()) -> tuple[Any, Any]:
    """The configuration's model with random weights, and the parsed options.

    Args:
        config: YAML file.
        directory: For the teachers' files.
        options: More of the task's, which come last.
    """
    from transformers import HubertConfig

    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    corpus = config.stem.partition("_")[0]
    HubertConfig(**HUBERT["large" if "_large_" in config.stem else "base"]).save_pretrained(
        directory
    )
    tokens = directory / "tokens.tsv"
    ids = range(300, 300 + VOCABULARIES.get(corpus, 8112))
    tokens.write_text("id\ttoken\tcount\n" + "".join(f"{n}\tx\t1\n" for n in ids))
    arguments = ["--config", str(config), "--output_dir", str(directory), "--ngpu", "0"]
    arguments += ["--speech_encoder_conf", f"model={directory}"]
    arguments += ["--speech_encoder_conf", "random_weights=true"]
    arguments += ["--clip_conf", "pretrained=random", "--keyword_vocabulary", str(tokens)]
    # image embeddings are precomputed, so CLIP's image tower is absent
    arguments += ["--train_data_path_and_name_and_type", "x.scp,image,npy"]
    args = SpeechCLIPTask.get_parser().parse_args([*arguments, *options])
    torch.manual_seed(0)
    return SpeechCLIPTask.build_model(args), args


def make_batch(batch_size: int, image_dim: int) -> dict[str, Tensor]:
    """Noise of the lengths that captions have, the longest first; random unit vectors as images."""
    generator = torch.Generator().manual_seed(0)
    seconds = MEAN_SECONDS + 1.3 * torch.randn(batch_size, generator=generator)
    lengths = (seconds.clamp(1.2, LONGEST_SECONDS) * SAMPLING_RATE).long().sort(descending=True)[0]
    speech = torch.randn(batch_size, int(lengths.max()), generator=generator) * 0.05
    speech[torch.arange(speech.size(1)) >= lengths[:, None]] = 0.0
    images = torch.randn(batch_size, image_dim, generator=generator)
    return {
        "speech": speech,
        "speech_lengths": lengths,
        "image": torch.nn.functional.normalize(images, dim=-1),
        "image_id": torch.arange(batch_size)[:, None],
        "text": torch.ones(batch_size, SUBWORDS, dtype=torch.long),
        "text_lengths": torch.full((batch_size,), SUBWORDS),
    }


def run_steps(model: Any, args: Any, batch: dict[str, Tensor]) -> dict[str, float]:
    """Cost of a training step after a first one, and the frozen encoder's share."""
    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    model.train()
    (optimizer,) = SpeechCLIPTask.build_optimizers(args, model)
    parameters = [p for p in model.parameters() if p.requires_grad]

    def step() -> tuple[Tensor, Tensor]:
        optimizer.zero_grad()
        loss, _, _ = model(**batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, args.grad_clip)
        optimizer.step()
        return loss.detach(), norm

    with FlopCounterMode(display=False) as flops:
        loss, norm = step()
    counts = flops.get_flop_counts()
    encoder = f"{type(model).__name__}.speechclip.speech_encoder.backend"
    encoder_seconds = time_encoder(model.speechclip.speech_encoder)
    started = clock()
    step()
    return {
        "seconds": clock() - started,
        "encoder_seconds": sum(encoder_seconds),
        "loss": float(loss),
        "grad_norm": float(norm),
        "tera_flop": flops.get_total_flops() / 1e12,
        "encoder_tera_flop": sum(counts[encoder].values()) / 1e12,
    }


def measure(config: Path, batch_size: int | None = None) -> dict[str, Any]:
    """Builds a configuration's model, does two steps and times the second.

    Args:
        config: YAML file.
        batch_size: Replaces the configuration's own.
    """
    with tempfile.TemporaryDirectory() as directory:
        model, args = build(config, Path(directory))
    size = batch_size or args.batch_size
    parameters = list(model.parameters())
    built = peak_memory()
    dim = model.speechclip.clip.embedding_dim
    batch = make_batch(size, dim)
    if model.image_bank is not None:
        pictures = PICTURES[config.stem.partition("_")[0]]
        model.image_bank.fill(torch.arange(pictures), torch.randn(pictures, dim))
    step = run_steps(model, args, batch)
    return {
        "config": config.stem,
        "batch_size": size,
        "accum_grad": args.accum_grad,
        "audio_seconds": float(batch["speech_lengths"].sum()) / SAMPLING_RATE,
        "parameters_million": sum(p.numel() for p in parameters) / 1e6,
        "trained_million": sum(p.numel() for p in parameters if p.requires_grad) / 1e6,
        "threads": torch.get_num_threads(),
        **step,
        "memory_built_gib": built / GIB,
        "memory_peak_gib": peak_memory() / GIB,
    }


def report(result: dict[str, Any]) -> str:
    """The figures as a table."""
    rows = [
        f"{result['config']}: one training step at real size, random weights",
        f"  parameters           {result['parameters_million']:.1f} M without CLIP's image tower, "
        f"{result['trained_million']:.2f} M of them trained",
        f"  batch                {result['batch_size']} utterances, "
        f"{result['audio_seconds']:.0f} s of speech (x {result['accum_grad']} for one update)",
        f"  measured here        {result['seconds']:.1f} s, {result['encoder_seconds']:.1f} s "
        f"of them the frozen encoder ({result['threads']} threads)",
        f"                       peak memory {result['memory_peak_gib']:.2f} GiB, "
        f"{result['memory_built_gib']:.2f} GiB once built",
        f"                       {result['tera_flop']:.2f} TFLOP, "
        f"{result['encoder_tera_flop']:.2f} of them the frozen encoder",
        f"                       loss {result['loss']:.3f}, "
        f"gradient norm {result['grad_norm']:.3f}",
    ]
    return "\n".join(rows)


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures one configuration."""
    parser = get_parser(__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--batch_size", type=int, help="instead of the configuration's own")
    parser.add_argument("--num_threads", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args(cmd)
    torch.set_num_threads(args.num_threads)
    result = measure(args.config, args.batch_size)
    show(report(result), result, args.output)


if __name__ == "__main__":
    main()
