"""Plans a training at a scale that was not run: bytes, steps and GPU hours.

The encoder's arithmetic is counted. Everything else is an assumption, printed with the option that
changes it.

Example:
    python -m benchmarks.plan
    python -m benchmarks.plan --corpus ten_million --gpu A100 --gpus 16 --passes 4
    python -m benchmarks.plan --corpus mine --utterances 2000000 --pictures 400000
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields

from benchmarks.measure import get_parser, show
from benchmarks.random_models import HUBERT

RATE = 16000
GB = 1e9
# dense half-precision peak in TFLOP/s
GPUS = {"V100": 125.0, "A100": 312.0, "H100": 989.0}
# training utterances, pictures, mean seconds, passes over them: those of 50,000 updates of 256
# utterances, as the paper trains; for ten million a choice
CORPORA = {
    "flickr8k": (30_000, 6_000, 4.1, 427.0),
    "spokencoco": (566_435, 113_287, 4.4, 22.6),
    "ten_million": (10_000_000, 2_000_000, 4.4, 5.0),
}


@dataclass(frozen=True)
class Assumptions:
    """Everything that is assumed. Options of the same names change these values.

    Attributes:
        utterances: Training utterances.
        pictures: Their pictures.
        mean_seconds: Mean length of an utterance.
        passes: Passes over all utterances.
        batch_size: Utterances of an update, over all GPUs.
        size: HuBERT base or large.
        gpu: One of ``GPUS``.
        gpus: Number of GPUs.
        share: Fraction of the GPU's peak that training reaches.
        padding: Samples with padding over samples without. The encoder takes a batch in parts of
            similar length.
        block: Arithmetic of the trained block (forward and backward) over the encoder's (forward).
        scaling: Rate of an added GPU over that of the first.
        flac: Bytes of FLAC over those of 16 bits per sample.
        state_bytes: Bytes of one stored number of a hidden state, with its share of a scale.
        disk: GB/s that one GPU's data loading reads.
    """

    utterances: int
    pictures: int
    mean_seconds: float
    passes: float
    batch_size: int = 256
    size: str = "base"
    gpu: str = "A100"
    gpus: int = 1
    share: float = 0.3
    padding: float = 1.05
    block: float = 0.15
    scaling: float = 0.95
    flac: float = 0.55
    state_bytes: float = 1.003
    disk: float = 2.0


def encoder_tera_flop(size: str, seconds: float) -> float:
    """Arithmetic of a HuBERT's forward pass over one utterance, counted without computing it."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import HubertConfig, HubertModel

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        config = HubertConfig(**HUBERT[size], attn_implementation="eager")
        HubertModel(config).eval()(torch.zeros(1, round(seconds * RATE)))
    return counter.get_total_flops() / 1e12


def plan(given: Assumptions) -> dict[str, float]:
    """Computes the plan from the assumptions."""
    layers, dim = {"base": (13, 768), "large": (25, 1024)}[given.size]
    seconds = given.utterances * given.mean_seconds
    frames = seconds * 50
    encoder = encoder_tera_flop(given.size, given.mean_seconds)  # of an utterance
    hour = GPUS[given.gpu] * given.share * 3600  # TFLOP of one GPU
    heard = given.utterances * given.passes
    encode_once = given.utterances * encoder * given.padding / hour
    block = heard * encoder * given.block * given.padding / hour
    states = frames * layers * dim * given.state_bytes
    # the slower of the arithmetic and the reading
    from_states = max(block, states * given.passes / (given.disk * GB) / 3600)
    gpus = 1 + (given.gpus - 1) * given.scaling
    from_audio = encode_once * given.passes + block
    return {
        "hours of speech": seconds / 3600,
        "GB of FLAC": seconds * RATE * 2 * given.flac / GB,
        "GB of image embeddings": given.pictures * 512 * 4 / GB,
        "GB of stored states": states / GB,
        "updates": heard / given.batch_size,
        "TFLOP an update": given.batch_size * encoder * (1 + given.block) * given.padding,
        "utterances/s that a GPU takes": heard / from_audio / 3600,
        "GPU hours from audio": from_audio,
        "days from audio": from_audio / gpus / 24,
        "GPU hours to store the states": encode_once,
        "GPU hours from stored states": from_states,
        "days with stored states": (encode_once + from_states) / gpus / 24,
        "GB/s to read for that not to wait": states * given.passes / GB / (block * 3600),
    }


def table(plans: dict[str, dict[str, float]]) -> str:
    """Plans side by side, as Markdown."""
    lines = ["| | " + " | ".join(plans) + " |", "|---" + "|---:" * len(plans) + "|"]
    for key in next(iter(plans.values())):
        values = " | ".join(_number(plan[key]) for plan in plans.values())
        lines.append(f"| {key} | {values} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def assumptions_of(args: argparse.Namespace, corpus: str) -> Assumptions:
    """Combines what is known about the corpus with the options."""
    options = {field.name: getattr(args, field.name) for field in fields(Assumptions)}
    given = {name: value for name, value in options.items() if value is not None}
    names = ("utterances", "pictures", "mean_seconds", "passes")
    known = dict(zip(names, CORPORA[corpus], strict=True)) if corpus in CORPORA else {}
    try:
        return Assumptions(**(known | given))
    except TypeError as error:
        corpora = ", ".join(CORPORA)
        raise SystemExit(
            f"plan: {corpus} is not one of {corpora}; give its options: {error}"
        ) from error


def main(cmd: Sequence[str] | None = None) -> None:
    """Prints plans and assumptions."""
    parser = get_parser(__doc__)
    parser.add_argument("--corpus", nargs="+", default=list(CORPORA))
    for field in fields(Assumptions):
        kind = {"int": int, "float": float, "str": str}[str(field.type)]
        choices = {"gpu": list(GPUS), "size": ["base", "large"]}.get(field.name)
        parser.add_argument(f"--{field.name}", type=kind, choices=choices)
    args = parser.parse_args(cmd)
    given = {corpus: assumptions_of(args, corpus) for corpus in args.corpus}
    plans = {corpus: plan(values) for corpus, values in given.items()}
    lines = [table(plans), "", "Assumptions, each an option:", ""]
    for field in fields(Assumptions):
        values = {str(getattr(each, field.name)) for each in given.values()}
        shown = " / ".join(str(getattr(each, field.name)) for each in given.values())
        lines.append(f"    --{field.name} {values.pop() if len(values) == 1 else shown}")
    show("\n".join(lines), {name: vars(given[name]) | plans[name] for name in given}, args.output)


if __name__ == "__main__":
    main()
