"""Time and memory of a training step at real size, on the GPU or all cores.

A dry run of a configuration. The speech encoder and CLIP have the sizes of the released ones and
random weights, so nothing is downloaded. Steps run as in training: forward, backward, clipping,
Adam; in bfloat16 on a GPU, if there is one. The first step gets its memory from the system, so the
second is timed.

Example:
    python -m benchmarks.step [CONFIG ...]
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import to_device
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import GIB, RECIPE, parser_of, peak_memory, print_table, spread
from espnet_plugin.teachers.speech_batch import waveform_batch

SAMPLING_RATE = 16000
MEAN_SECONDS = 4.33  # of SpokenCOCO's test recordings
LONGEST_SECONDS = 6.4  # where training crops
SUBWORDS = 11  # of a caption
VOCABULARY, IMAGES = 8112, 6000  # of Flickr8k
CONFIGS = RECIPE / "conf" / "tuning"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
HUBERT: dict[str, dict[str, Any]] = {
    "base": {},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
    },
    "tiny": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "conv_dim": (16,) * 7,
    },
}
TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 16, "layers": 1, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}


def now() -> float:
    """The clock's seconds, once the device has done all that it was told to."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()


def time_encoder(encoder: torch.nn.Module) -> list[float]:
    """Records the seconds of each later batch of a frozen encoder."""
    encode, times = encoder.in_parts, []

    def in_parts(*args: Any, **options: Any) -> Any:
        started = now()
        states = encode(*args, **options)
        times.append(now() - started)
        return states

    vars(encoder)["in_parts"] = in_parts
    return times


def build(config: Path, directory: Path, *, tiny: bool = False) -> tuple[Any, Any]:
    """The configuration's model with random weights, and the parsed options.

    Args:
        config: YAML file.
        directory: For the files of the frozen models.
        tiny: Tiny frozen models, to check that it runs.
    """
    from transformers import HubertConfig

    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    size = "tiny" if tiny else "large" if "_large_" in config.stem else "base"
    HubertConfig(**HUBERT[size]).save_pretrained(directory)
    tokens = directory / "tokens.tsv"
    ids = range(300, 300 + VOCABULARY)
    tokens.write_text("id\ttoken\tcount\n" + "".join(f"{n}\tx\t1\n" for n in ids))
    arguments = ["--config", str(config), "--output_dir", str(directory), "--ngpu", "0"]
    arguments += ["--speech_encoder_conf", f"model={directory}"]
    arguments += ["--speech_encoder_conf", "random_weights=true"]
    arguments += ["--clip_conf", "pretrained=random", "--keyword_vocabulary", str(tokens)]
    # image embeddings are precomputed, so CLIP's image tower is absent
    arguments += ["--train_data_path_and_name_and_type", "x.scp,image,npy"]
    if tiny:
        (directory / "clip.json").write_text(json.dumps(TINY_CLIP))
        arguments += ["--clip_conf", f"model={directory / 'clip.json'}"]
    args = SpeechCLIPTask.get_parser().parse_args(arguments)
    torch.manual_seed(0)
    return SpeechCLIPTask.build_model(args), args


def make_batch(batch_size: int, image_dim: int) -> dict[str, Any]:
    """Noise of the lengths that captions have, the longest first; random unit vectors as images."""
    generator = torch.Generator().manual_seed(0)
    seconds = MEAN_SECONDS + 1.3 * torch.randn(batch_size, generator=generator)
    lengths = (seconds.clamp(1.2, LONGEST_SECONDS) * SAMPLING_RATE).long().sort(descending=True)[0]
    speech = torch.randn(batch_size, int(lengths.max()), generator=generator) * 0.05
    speech[torch.arange(speech.size(1)) >= lengths[:, None]] = 0.0
    images = torch.randn(batch_size, image_dim, generator=generator)
    return {
        "speech": waveform_batch(speech, lengths),
        "image": torch.nn.functional.normalize(images, dim=-1),
        "image_id": torch.arange(batch_size)[:, None],
        "text": torch.ones(batch_size, SUBWORDS, dtype=torch.long),
        "text_lengths": torch.full((batch_size,), SUBWORDS),
    }


def measure(config: Path, *, tiny: bool) -> list[str]:
    """Builds a configuration's model, does two steps and times the second.

    Args:
        config: YAML file.
        tiny: Tiny frozen models and two utterances.

    Returns:
        A row of the table: the clock's seconds, memory, sizes.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    with tempfile.TemporaryDirectory() as directory:
        model, args = build(config, Path(directory), tiny=tiny)
    size = 2 if tiny else args.batch_size
    dim = model.speechclip.clip.embedding_dim
    batch = to_device(make_batch(size, dim), DEVICE)
    if model.image_bank is not None:
        model.image_bank.fill(torch.arange(IMAGES), torch.randn(IMAGES, dim))
    model.to(DEVICE).train()
    (optimizer,) = SpeechCLIPTask.build_optimizers(args, model)
    trained = [p for p in model.parameters() if p.requires_grad]

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda"):
            loss = model(**batch)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, args.grad_clip)
        optimizer.step()

    with FlopCounterMode(display=False) as flops:
        step()
    encoder = f"{type(model).__name__}.speechclip.speech_encoder.backend"
    encoder_seconds = time_encoder(model.speechclip.speech_encoder)
    started = now()
    step()
    seconds = now() - started
    on_gpu = DEVICE == "cuda"
    audio = float(batch["speech"].lengths.sum()) / SAMPLING_RATE
    memory = torch.cuda.max_memory_allocated() if on_gpu else peak_memory()
    encoder_flop = sum(flops.get_flop_counts()[encoder].values())
    return [
        config.stem,
        f"{size} utterances, {audio:,.0f} s",
        spread([seconds]),
        spread([sum(encoder_seconds)]),
        f"{memory / GIB:.1f} GiB",
        f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M, "
        f"{sum(p.numel() for p in trained) / 1e6:.1f} M trained",
        f"{flops.get_total_flops() / 1e12:.1f} TFLOP, encoder {encoder_flop / 1e12:.1f}",
        torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} threads",
    ]


def main() -> None:
    """Measures each configuration, every one in a process with a memory peak of its own."""
    parser = parser_of(__doc__)
    sizes = ("base", "large") if DEVICE == "cuda" else ("base",)
    given = [CONFIGS / f"flickr8k_{size}_hybrid_plus.yaml" for size in sizes]
    parser.add_argument("config", nargs="*", type=Path, default=given, help="YAML files")
    args = parser.parse_args()
    rows = []
    for config in args.config:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            rows.append(process.submit(measure, config.absolute(), tiny=args.quick).result())
    header = ("configuration", "batch", "a step", "of it the encoder", "peak memory", "parameters")
    print_table((*header, "arithmetic", "device"), rows)


if __name__ == "__main__":
    main()
