"""How many utterances a second ESPnet's data loading gives the training, by number of workers.

Recordings of the captions' usual length are generated as stage 2 writes them, and the training's
own iterator reads them: the sampler, the workers, decoding, cropping, padding. The rate is set
against what a step consumes: measured here with ``--step`` (the JSON file of ``full_size_step``),
and for GPUs estimated from its arithmetic.

Example:
    python -m benchmarks.data_loading --work_dir scratch --workers 0 1 2 --step step.json
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import get_parser, show

CONFIG = Path("egs2/speechclip_plus/conf/tuning/flickr8k_base_hybrid_plus.yaml")
CAPTIONS_PER_PICTURE = 5


def make_data(directory: Path, utterances: int, audio_format: str) -> Path:
    """A set as in dump/raw: 16 kHz recordings, image embeddings, image ids."""
    import soundfile

    from espnet_plugin.data.scp import write_scp

    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    tables: dict[str, dict[str, object]] = {
        name: {} for name in ("wav.scp", "image_feat.scp", "utt2image_id", "speech_shape")
    }
    for n in range(utterances):
        key = f"{n:06d}"
        samples = int(np.clip(rng.normal(4.33, 1.3), 1.2, 8.0) * 16000)
        wav = directory / f"{key}.{audio_format}"
        if not wav.exists():
            # brown noise is about as hard to decode as speech
            wave = np.cumsum(rng.standard_normal(samples))
            soundfile.write(wav, wave / (2 * np.abs(wave).max()), 16000, subtype="PCM_16")
        image = directory / f"{n // CAPTIONS_PER_PICTURE}.npy"
        if not image.exists():
            np.save(image, rng.standard_normal(512).astype(np.float32))
        tables["wav.scp"][key] = wav
        tables["image_feat.scp"][key] = image
        tables["utt2image_id"][key] = n // CAPTIONS_PER_PICTURE
        tables["speech_shape"][key] = samples
    for name, table in tables.items():
        write_scp(directory / name, table)
    return directory


def make_iterator(data: Path, config: Path, *, workers: int, batch_size: int, batches: int) -> Any:
    """The training's iterator factory."""
    from espnet2.train.distributed_utils import DistributedOption

    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    option = "--train_data_path_and_name_and_type"
    options = ["--config", str(config), "--output_dir", str(data), "--ngpu", "0"]
    options += [option, f"{data}/wav.scp,speech,sound", option, f"{data}/image_feat.scp,image,npy"]
    options += [option, f"{data}/utt2image_id,image_id,text_int"]
    options += ["--train_shape_file", f"{data}/speech_shape", "--batch_size", str(batch_size)]
    options += ["--num_workers", str(workers), "--num_iters_per_epoch", str(batches)]
    args = SpeechCLIPTask.get_parser().parse_args(options)
    return SpeechCLIPTask.build_iter_factory(args, DistributedOption(), mode="train")


def rate(data: Path, config: Path, *, workers: int, batch_size: int, batches: int) -> float:
    """Utterances a second, the first batches (when workers start) left out."""
    factory = make_iterator(
        data, config, workers=workers, batch_size=batch_size, batches=batches + 2
    )
    iterator = iter(factory.build_iter(1))
    for _ in range(2):
        next(iterator)
    started, count = time.monotonic(), 0
    for keys, _ in iterator:
        count += len(keys)
    return count / (time.monotonic() - started)


def consumption(step: dict[str, Any]) -> dict[str, float]:
    """Utterances a second that training takes, from the output of ``full_size_step``."""
    size = step["batch_size"]
    rates = {"this processor (measured)": size / step["seconds"]}
    for name, estimate in step["estimate_gpu"].items():
        rates[f"{name} (estimate)"] = step["config_batch_size"] / estimate["seconds_per_step"]
    return rates


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures every format and number of workers."""
    parser = get_parser(__doc__)
    parser.add_argument("--work_dir", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--utterances", type=int, default=1000)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--audio_format", nargs="+", default=["flac", "wav"])
    parser.add_argument("--step", type=Path, help="JSON output of full_size_step")
    args = parser.parse_args(cmd)
    logging.disable(logging.INFO)
    produced: dict[str, dict[str, float]] = {}
    table = []
    sizes = {"batch_size": args.batch_size, "batches": args.batches}
    for audio_format in args.audio_format:
        data = make_data(args.work_dir / audio_format, args.utterances, audio_format)
        produced[audio_format] = {}
        for workers in args.workers:
            value = rate(data, args.config, workers=workers, **sizes)
            produced[audio_format][str(workers)] = value
            table.append(f"{audio_format}, {workers} workers: {value:.0f} utterances/s")
    result: dict[str, Any] = {"produced_utterances_per_second": produced}
    if args.step:
        consumed = consumption(json.loads(args.step.read_text()))
        result["consumed_utterances_per_second"] = consumed
        best = max(max(values.values()) for values in produced.values())
        for name, value in consumed.items():
            table.append(
                f"{name} takes {value:.1f} utterances/s: {best / value:.2g} x are produced"
            )
    show("\n".join(table), result, args.output)


if __name__ == "__main__":
    main()
