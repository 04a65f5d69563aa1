"""Time of the upstream against that of its bare speech encoder.

Both run the same random HuBERT on the same speech, by turns, and keep all hidden states. On a CPU
the processor time is measured, which other programs disturb less than the clock.

Example:
    python -m benchmarks.upstream_cost --size base --architecture hybrid+
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.measure import HUBERT, get_parser, show

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "parallel": {"keyword_extractor": "none", "attention": "transformer"},
    "cascaded": {"keyword_extractor": "cls", "model_conf": {"parallel": False}},
    "cascaded+": {"keyword_extractor": "cif", "model_conf": {"parallel": False}},
    "hybrid": {"keyword_extractor": "cls"},
    "hybrid+": {"keyword_extractor": "cif"},
}
VARIANTS = ("encoder", "upstream")
RATE = 16000


def export_random_model(size: str, architecture: str, directory: Path) -> None:
    """A random model as an exported directory; CLIP's towers are small, as none is loaded."""
    from transformers import HubertConfig, HubertModel

    from espnet_plugin.speechclip import build_speechclip, save_speechclip

    encoder = directory / "encoder"
    HubertModel(HubertConfig(**HUBERT[size])).save_pretrained(encoder)
    tower = {"width": 512, "heads": 8, "layers": 1}
    clip = {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 1, "width": 64},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, **tower},
    }
    (directory / "clip.json").write_text(json.dumps(clip))
    config = {
        "speech_encoder_conf": {"model": str(encoder)},
        "clip_conf": {"model": str(directory / "clip.json")},
        "keyword_vocabulary": list(range(1000, 9000)),
        **ARCHITECTURES[architecture],
    }
    save_speechclip(build_speechclip(config), config, directory / "model")


def load_variant(name: str, model: Path, device: str) -> Callable[[list[torch.Tensor]], Any]:
    """Function of utterances to hidden states."""
    from s3prl_upstream.expert import UpstreamExpert

    expert = UpstreamExpert(model).to(device).eval()
    if name == "upstream":
        return expert
    encoder = expert.model.speech_encoder
    del expert

    def encode(wavs: list[torch.Tensor]) -> Any:
        lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
        return encoder.encode(torch.nn.utils.rnn.pad_sequence(wavs, batch_first=True), lengths)

    return encode


def speech(batch: int, seconds: float, device: str, *, ragged: bool) -> list[torch.Tensor]:
    """Noise; ragged: from half the length to all of it."""
    torch.manual_seed(0)
    shares = torch.linspace(0.5, 1, batch) if ragged else torch.ones(batch)
    return [0.1 * torch.randn(round(float(s) * seconds * RATE), device=device) for s in shares]


def seconds_of(function: Callable[[], Any], device: str) -> float:
    """Processor time on a CPU, time until the device is done otherwise."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def measure(args: argparse.Namespace, model: Path) -> dict[str, Any]:
    """Medians of both variants and their ratios."""
    runs = {name: load_variant(name, model, args.device) for name in VARIANTS}
    wavs = speech(args.batch, args.seconds, args.device, ragged=args.ragged)
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    ratios = []
    with torch.inference_mode():
        for run in runs.values():
            run(wavs)  # warm up
        for turn in range(args.repeats):
            order = VARIANTS if turn % 2 else VARIANTS[::-1]
            for name in order:
                times[name].append(seconds_of(lambda run=runs[name]: run(wavs), args.device))
            ratios.append(times["upstream"][-1] / times["encoder"][-1])
    settings = ("size", "architecture", "batch", "seconds", "ragged", "repeats")
    return {
        **{name: getattr(args, name) for name in settings},
        "device": torch.cuda.get_device_name() if args.device != "cpu" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "encoder_seconds": statistics.median(times["encoder"]),
        "upstream_seconds": statistics.median(times["upstream"]),
        "time_ratio": statistics.median(ratios),
    }


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures both variants."""
    parser = get_parser(__doc__)
    parser.add_argument("--size", choices=list(HUBERT), default="base")
    parser.add_argument("--architecture", choices=list(ARCHITECTURES), default="hybrid+")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.4, help="of the longest utterance")
    parser.add_argument("--ragged", action="store_true", help="utterances of different lengths")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(cmd)
    with tempfile.TemporaryDirectory() as name:
        export_random_model(args.size, args.architecture, Path(name))
        result = measure(args, Path(name) / "model")
    table = (
        f"{args.size} {args.architecture}, {args.batch} x {args.seconds} s, {result['device']}\n"
        f"encoder  {result['encoder_seconds']:8.3f} s\n"
        f"upstream {result['upstream_seconds']:8.3f} s, ratio {result['time_ratio']:.3f}"
    )
    show(table, result, args.output)


if __name__ == "__main__":
    main()
