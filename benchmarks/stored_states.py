"""Training from stored hidden states against training from recordings, and how fast they are read.

Both read the same utterances from the disk as ESPnet's data loading does, crop, pad, and train one
step of Flickr8k's base hybrid+ with random weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data_loading import make_data
from benchmarks.full_size_step import CONFIG, build
from benchmarks.measure import Row, Settings, by_turns

SECONDS = 120
LAYERS, DIM, FRAMES = 13, 768, 216  # of HuBERT base, of an utterance of 4.33 s


def rows(settings: Settings) -> Iterator[Row]:
    """A step, and reading alone."""
    yield step(settings.work_dir, utterances=2 if settings.quick else 8)
    yield reading(settings.work_dir / "reading", utterances=8 if settings.quick else 256)


def step(directory: Path, *, utterances: int) -> Row:
    """Reading, forward, backward."""
    from espnet_plugin.speechclip.speech_encoder import batch_states

    data = make_data(directory / "data", utterances, "wav")
    (directory / "model").mkdir()
    model, args = build(CONFIG, directory / "model")
    encoder = model.speechclip.speech_encoder
    args.crop_frames = int(encoder.frame_lengths(torch.tensor([round(args.crop_seconds * 16000)])))
    store_states(data, encoder)
    recordings = read(args, data, "wav.scp", "speech", "sound")
    states = read(args, data, "speech_states.scp", "speech_states", "frames")
    with torch.no_grad():
        hidden = batch_states(encoder, **model._given(states()))
    ready = {
        **{name: value for name, value in states().items() if not name.startswith("speech")},
        "speech_states": hidden.hidden_states.transpose(1, 2),
        "speech_states_lengths": hidden.lengths,
    }

    def train(batch: dict[str, Any]) -> None:
        model.zero_grad()
        model(**batch)[0].backward()

    times = by_turns(
        {
            "ours": lambda: train(states()),
            "baseline": lambda: train(recordings()),
            "bound": lambda: train(ready),
        },
        turns=5,
        seconds=90,
    )
    return Row(
        f"a step of {CONFIG.stem}, {utterances} utterances, from stored states in int8",
        **times,
        baseline_is="from recordings",
        bound_is="the trained block on states in memory",
    )


def store_states(data: Path, encoder: torch.nn.Module) -> None:
    """As stage 6 does."""
    from espnet_plugin.data.frame_store import FrameStore
    from espnet_plugin.data.sampler_files import read_lengths
    from espnet_plugin.data.scp import read_scp
    from espnet_plugin.inference.speech_states import DIMENSIONS, dump_speech_states

    wavs = read_scp(data / "wav.scp")
    store = FrameStore(data / "states", wavs, maker={}, shared=(DIMENSIONS,))
    dump_speech_states(wavs, read_lengths([str(data / "speech_shape")]), encoder, store)
    store.write_list(data / "speech_states.scp", wavs, {}, what="utterances")


def read(args: Any, data: Path, *speech: str) -> Callable[[], dict[str, Any]]:
    """Reads the whole set as a batch of training."""
    from espnet_plugin.data.dataset import NamingDataset
    from espnet_plugin.tasks.speechclip import SpeechCLIPTask

    files = [speech, ("image_feat.scp", "image", "npy"), ("utt2image_id", "image_id", "text_int")]
    dataset = NamingDataset(
        [(str(data / file), name, kind) for file, name, kind in files],
        preprocess=SpeechCLIPTask.build_preprocess_fn(args, train=True),
    )
    collate = SpeechCLIPTask.build_collate_fn(args, train=True)
    return lambda: collate([dataset[key] for key in dataset])[1]


def reading(directory: Path, *, utterances: int) -> Row:
    """Utterances in random order, from the operating system's cache."""
    from espnet_plugin.data.frame_store import FRAMES as ARRAY
    from espnet_plugin.data.frame_store import FrameStore, StoredFrames

    rng = np.random.default_rng(0)
    keys = [f"u{number:04d}" for number in range(utterances)]
    store = FrameStore(directory, dict.fromkeys(keys, __file__), maker={})
    for key in keys:
        codes = rng.integers(-127, 128, (FRAMES, LAYERS, DIM), dtype=np.int8)
        store.save({key: {ARRAY: codes, "scale": np.ones((FRAMES, LAYERS), np.float16)}})
    store.write_list(directory / "frames.scp", keys, {}, what="utterances")
    frames = StoredFrames(directory / "frames.scp")
    order = [keys[number] for number in rng.permutation(utterances)]
    size = FRAMES * LAYERS * DIM

    def ours() -> None:
        for key in order:
            frames.read(key)

    def touch() -> None:
        for file in directory.glob("*.safetensors"):
            length = file.stat().st_size // size * size
            values = np.memmap(file, np.uint64, mode="r", shape=length // 8)
            values.sum()

    times = by_turns({"ours": ours, "bound": touch}, turns=9, seconds=20)
    rates = [utterances * size / times[name].median / 1e9 for name in ("ours", "bound")]
    return Row(
        f"reading {utterances} utterances of {FRAMES} frames, {utterances * size / 1e6:.0f} MB",
        **times,
        bound_is="a sum over a memory map of the same files",
        note="{:.1f} GB/s, the memory map {:.1f}".format(*rates),
    )
