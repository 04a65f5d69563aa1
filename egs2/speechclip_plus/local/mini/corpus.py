"""The corpus: scenes, pictures, captions and speech, and its Kaldi-style data directories."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.progress import progress

from .config import MiniConfig
from .lexicon import VOICES
from .pictures import Painter
from .scenes import Scene, draw_captions, draw_splits
from .streams import random_stream

SPLITS = ("train", "dev", "test")
_POLL_SECONDS = 0.2
_BYTES_PER_UTTERANCE = 2.2 * 32000  # mean duration at 16 kHz, 16 bits


@dataclass(frozen=True)
class SpokenCaption:
    """One caption, who says it and how."""

    utterance_id: str
    image_id: str
    text: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int


def split_voices(config: MiniConfig) -> tuple[list[str], list[str]]:
    """Voices of the training set, and those that it never hears; the seed alone decides."""
    order = [VOICES[n] for n in random_stream(config.seed, "voices").permutation(len(VOICES))]
    count = config.corpus.unseen_voices
    return sorted(order[count:]), sorted(order[:count])


def draw_corpus(
    config: MiniConfig,
) -> tuple[dict[str, dict[str, Scene]], dict[str, list[SpokenCaption]]]:
    """Draw the scenes by split and image id, and every spoken caption by split.

    In dev and test every second utterance is by a voice that training never hears.
    """
    corpus = config.corpus
    sizes = {split: getattr(corpus, f"{split}_images") for split in SPLITS}
    seen_voices, unseen_voices = split_voices(config)
    drawn = draw_splits(random_stream(config.seed, "scenes"), sizes, two_objects=corpus.two_objects)
    scenes: dict[str, dict[str, Scene]] = {}
    captions: dict[str, list[SpokenCaption]] = {}
    for split in SPLITS:
        words = random_stream(config.seed, f"{split} captions")
        speech = random_stream(config.seed, f"{split} speech")
        scenes[split] = {f"{split}_{n:05d}": scene for n, scene in enumerate(drawn[split])}
        captions[split] = []
        for image_id, scene in scenes[split].items():
            for n, text in enumerate(draw_captions(words, scene)):
                unseen = split != "train" and len(captions[split]) % 2 == 1
                voices = unseen_voices if unseen else seen_voices
                captions[split].append(
                    SpokenCaption(
                        utterance_id=f"{image_id}_{n}",
                        image_id=image_id,
                        text=text,
                        voice=voices[speech.integers(len(voices))],
                        words_per_minute=int(
                            speech.integers(*corpus.words_per_minute, endpoint=True)
                        ),
                        pitch=int(speech.integers(*corpus.pitch, endpoint=True)),
                        pitch_range=int(speech.integers(*corpus.pitch_range, endpoint=True)),
                    )
                )
    return scenes, captions


def paint_corpus(config: MiniConfig, scenes: dict[str, dict[str, Scene]], root: Path) -> None:
    """Write ``images/<image_id>.png`` for every scene."""
    directory = root / "images"
    directory.mkdir(parents=True, exist_ok=True)
    painter = Painter(image_size=config.corpus.image_size)
    rng = random_stream(config.seed, "pictures")
    everything = [pair for split in SPLITS for pair in scenes[split].items()]
    for image_id, scene in progress(everything, description="pictures", unit="picture"):
        picture = painter.paint(scene, rng)  # painted even when the file exists: same jitter
        path = directory / f"{image_id}.png"
        if not path.exists():
            with atomic_path(path) as temporary:
                Image.fromarray(picture).save(temporary, format="PNG", compress_level=1)


def speak_corpus(
    config: MiniConfig, captions: dict[str, list[SpokenCaption]], root: Path, *, jobs: int
) -> dict[str, list[tuple[str, float, float]]]:
    """Synthesise every caption, in blocks of which finished ones are kept.

    Args:
        config: Sizes and seed.
        captions: Spoken captions by split.
        root: Directory of the corpus; ``wavs/<utterance_id>.wav`` and ``blocks/`` are written.
        jobs: Processes at a time.

    Returns:
        Utterance id → (word, start, end) in seconds.

    Raises:
        RuntimeError: If a block's process fails, or the disk is too full.
    """
    everything = [caption for split in SPLITS for caption in captions[split]]
    size = config.corpus.utterances_per_block
    blocks = root / "blocks"
    blocks.mkdir(parents=True, exist_ok=True)
    (root / "wavs").mkdir(exist_ok=True)
    pending, results = [], []
    for number, begin in enumerate(range(0, len(everything), size)):
        result = blocks / f"{number:04d}.json"
        results.append(result)
        if not result.exists():
            job = blocks / f"{number:04d}.job.json"
            members = everything[begin : begin + size]
            write_text(job, json.dumps([vars(member) for member in members]))
            pending.append((job, result))
    if len(pending) < len(results):
        logging.info(f"{len(results) - len(pending)} of {len(results)} blocks exist already")
    _check_space(root, len(pending) * min(size, len(everything)))
    finished = _run_blocks(pending, root / "wavs", jobs=max(jobs, 1))
    for _ in progress(finished, description="speech", total=len(pending), unit="block"):
        pass
    words: dict[str, list[tuple[str, float, float]]] = {}
    for result in results:
        words.update(json.loads(result.read_text(encoding="utf-8")))
    return words


def write_lists(
    captions: dict[str, list[SpokenCaption]],
    words: dict[str, list[tuple[str, float, float]]],
    root: Path,
    data_dir: Path,
) -> None:
    """Write ``captions.tsv``, ``words.ctm`` and ``data/mini_{train,dev,test}``."""
    rows = ["utterance\timage\tvoice\tcaption"]
    for split in SPLITS:
        rows += [f"{c.utterance_id}\t{c.image_id}\t{c.voice}\t{c.text}" for c in captions[split]]
    write_text(root / "captions.tsv", "\n".join(rows) + "\n")
    everything = sorted(words)
    write_text(root / "words.ctm", "".join(_ctm_lines(everything, words)))
    for split in SPLITS:
        members = sorted(captions[split], key=lambda caption: caption.utterance_id)
        directory = data_dir / f"mini_{split}"
        speakers: dict[str, list[str]] = {}
        for caption in members:
            speakers.setdefault(_speaker(caption.voice), []).append(caption.utterance_id)
        images = sorted({caption.image_id for caption in members})
        ids = [caption.utterance_id for caption in members]
        files = {
            "wav.scp": [f"{i} {root / 'wavs' / i}.wav" for i in ids],
            "text": [f"{c.utterance_id} {c.text}" for c in members],
            "utt2spk": [f"{c.utterance_id} {_speaker(c.voice)}" for c in members],
            "spk2utt": [f"{s} {' '.join(u)}" for s, u in sorted(speakers.items())],
            "utt2image": [f"{c.utterance_id} {c.image_id}" for c in members],
            "image.scp": [f"{i} {root / 'images' / i}.png" for i in images],
        }
        for name, lines in files.items():
            write_text(directory / name, "\n".join(lines) + "\n")
        write_text(directory / "words.ctm", "".join(_ctm_lines(ids, words)))


def _check_space(root: Path, utterances: int) -> None:
    needed, free = utterances * _BYTES_PER_UTTERANCE, shutil.disk_usage(root).free
    if needed > free:
        raise RuntimeError(
            f"{root}: the speech needs about {needed / 1e6:.0f} MB, but {free / 1e6:.0f} MB are "
            "free; free some space or choose another directory"
        )


def _speaker(voice: str) -> str:
    return voice.replace("+", "_")


def _ctm_lines(ids: list[str], words: dict[str, list[tuple[str, float, float]]]) -> Iterator[str]:
    for utterance_id in ids:
        for word, start, end in words[utterance_id]:
            yield f"{utterance_id} 1 {start:.3f} {end - start:.3f} {word}\n"


def _run_blocks(pending: list[tuple[Path, Path]], wavs: Path, *, jobs: int) -> Iterator[Path]:
    """Run one process per block, ``jobs`` at a time; yields each finished block."""
    queue, running = list(reversed(pending)), {}
    try:
        while queue or running:
            while queue and len(running) < jobs:
                job, result = queue.pop()
                command = [sys.executable, "-m", "local.mini.speak_block"]
                command += [str(job.resolve()), str(result.resolve()), str(wavs.resolve())]
                cwd = Path(__file__).resolve().parents[2]
                running[result] = subprocess.Popen(command, cwd=cwd)
            time.sleep(_POLL_SECONDS)
            for result in [r for r, process in running.items() if process.poll() is not None]:
                if running.pop(result).returncode != 0:
                    raise RuntimeError(
                        f"Synthesis of {result.with_suffix('.job.json')} failed (message above); "
                        "finished blocks are kept, run the stage again"
                    )
                yield result
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
