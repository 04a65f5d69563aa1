"""Data loading: utterances a second that ESPnet's iterator gives the training.

Recordings of the captions' usual length are generated as stage 2 writes them, and the training's
own iterator reads them: the sampler, decoding, cropping, padding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.full_size_step import CONFIG
from benchmarks.measure import Row, Settings, Spread

SECONDS = 45
CAPTIONS_PER_PICTURE = 5
BATCH_SIZE = 64


def rows(settings: Settings) -> Iterator[Row]:
    """FLAC and WAV, read by the training's own process."""
    utterances, batches = (2 * BATCH_SIZE, 1) if settings.quick else (640, 8)
    for audio_format in ("flac", "wav"):
        data = make_data(settings.work_dir / audio_format, utterances, audio_format)
        factory = make_iterator(data, batches)
        files = sorted(data.glob(f"*.{audio_format}"))
        ours, bound = [], []
        for turn in range(1 if settings.quick else 5):
            ours.append(rate(factory, epoch=turn + 1))
            bound.append(decoding_rate(files[: batches * BATCH_SIZE]))
        yield Row(
            f"{audio_format.upper()}, one process, batches of {BATCH_SIZE}",
            Spread.of(ours),
            bound=Spread.of(bound),
            bound_is="libsndfile alone decodes the same files",
            unit="utterances/s",
        )


def rate(factory: Any, *, epoch: int) -> float:
    """Utterances a second of the processor."""
    iterator = factory.build_iter(epoch)
    started = time.process_time()
    count = sum(len(keys) for keys, _ in iterator)
    return count / (time.process_time() - started)


def decoding_rate(files: list[Path]) -> float:
    """Utterances a second of the processor."""
    import soundfile

    started = time.process_time()
    for file in files:
        soundfile.read(file, dtype="float32")
    return len(files) / (time.process_time() - started)


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
        # brown noise is about as hard to decode as speech
        wave = np.cumsum(rng.standard_normal(samples))
        soundfile.write(wav, wave / (2 * np.abs(wave).max()), 16000, subtype="PCM_16")
        image = directory / f"{n // CAPTIONS_PER_PICTURE}.npy"
        np.save(image, rng.standard_normal(512).astype(np.float32))
        tables["wav.scp"][key] = wav
        tables["image_feat.scp"][key] = image
        tables["utt2image_id"][key] = n // CAPTIONS_PER_PICTURE
        tables["speech_shape"][key] = samples
    for name, table in tables.items():
        write_scp(directory / name, table)
    return directory


def make_iterator(data: Path, batches: int) -> Any:
    """The training's iterator factory."""
    from espnet2.train.distributed_utils import DistributedOption

    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    option = "--train_data_path_and_name_and_type"
    options = ["--config", str(CONFIG), "--output_dir", str(data), "--ngpu", "0"]
    options += [option, f"{data}/wav.scp,speech,sound", option, f"{data}/image_feat.scp,image,npy"]
    options += [option, f"{data}/utt2image_id,image_id,text_int"]
    options += ["--train_shape_file", f"{data}/speech_shape", "--batch_size", str(BATCH_SIZE)]
    options += ["--num_workers", "0", "--num_iters_per_epoch", str(batches)]
    args = SpeechCLIPTask.get_parser().parse_args(options)
    return SpeechCLIPTask.build_iter_factory(args, DistributedOption(), mode="train")
