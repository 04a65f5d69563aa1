"""Sizes: tables of a million lines, long recordings, many pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import MIB, Row, Settings, Spread, usage_of
from benchmarks.random_models import export_random_model

LONG_SECONDS = 500
PREAMBLE = """
import sys
from pathlib import Path
from espnet_plugin.data import datadir
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.alignments import read_ctm
from espnet_plugin.evaluation.keyword_file import read_keywords
work = Path(sys.argv[1])
"""
TABLES = {
    "a table of {} lines, read": "read_scp(work / 'wav.scp')",
    "the same, split into 8 jobs": "datadir.split(work / 'wav.scp', work / 'split', jobs=8)",
    "`datadir fix` of a directory of {} utterances": "datadir.fix(work)",
    "`words.ctm` of {} utterances, read": "read_ctm(work / 'words.ctm')",
    "`keywords.jsonl` of {} utterances, read": "read_keywords(work / 'keywords.jsonl')",
}
HEAR = """
import sys, torch
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
encoder = FrozenSpeechEncoder("huggingface", model=sys.argv[1], normalize_waveform=False)
samples = round(float(sys.argv[2]) * 16000)
with torch.inference_mode():
    encoder(torch.randn(1, samples), torch.tensor([samples]))
"""


def long_rows(settings: Settings) -> Iterator[Row]:
    """Each in a process of its own."""
    yield from tables(settings)
    if not settings.quick:
        for seconds in (30, 120, 400):  # the longest that is heard
            yield recording(seconds, settings.work_dir)
    yield from index(settings)


def tables(settings: Settings) -> Iterator[Row]:
    """What reading them takes."""
    number = 1000 if settings.quick else 1_000_000
    write_tables(settings.work_dir, number)
    for what, code in TABLES.items():
        yield measured(
            what.format(f"{number:,}"),
            [sys.executable, "-c", f"{PREAMBLE}{code}", settings.work_dir],
        )


def index(settings: Settings) -> Iterator[Row]:
    """An index of many small pictures."""
    number = 10 if settings.quick else 100_000
    tiny = settings.work_dir / "tiny"
    tiny.mkdir()
    export_random_model("tiny", "parallel", tiny)
    pictures = make_pictures(settings.work_dir / "pictures", number)
    option = ["--index", settings.work_dir / "index"]
    program = [sys.executable, "-m", "espnet_plugin.bin.speechclip"]
    first = [*program, "index", pictures, *option, "--model", tiny / "model"]
    yield measured(f"`speechclip index` of {number:,} pictures of 24 × 24, a tiny CLIP", first)
    yield measured("the same again, without changes", [*program, "index", *option])
    yield measured(
        "`speechclip search --text` in it", [*program, "search", *option, "--text", "a dog"]
    )


def measured(what: str, command: list[object]) -> Row:
    """Processor seconds of a command and its peak of memory, what it imports included."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    usage = usage_of(command, **quiet)
    return Row(what, Spread.of([usage.cpu_seconds]), note=f"{usage.peak / MIB:,.0f} MiB")


def recording(seconds: int, work_dir: Path) -> Row:
    """HuBERT base hears one utterance."""
    encoder = work_dir / "encoder"
    if not encoder.exists():
        export_random_model("base", "parallel", work_dir)
    command = [sys.executable, "-c", HEAR, encoder, seconds]
    return measured(f"HuBERT base, float32, one recording of {seconds} s", command)


def write_tables(directory: Path, number: int) -> None:
    """A data directory of so many utterances, five to a picture; alignments; keywords."""
    keyword = {"token_id": 1929, "token": "dog</w>", "top": [1929, 1], "start": 0.1, "end": 0.5}
    record = {"caption": "a dog", "caption_ids": [320, 1929], "keywords": [keyword] * 3}
    names = ("wav.scp", "text", "utt2spk", "spk2utt", "utt2image", "words.ctm", "keywords.jsonl")
    files = {name: (directory / name).open("w", encoding="utf-8") for name in names}
    for n in range(number):
        utterance, image = f"speaker{n % 100:03d}-{n:08d}", f"image{n // 5:08d}"
        files["wav.scp"].write(f"{utterance} /data/corpus/wavs/{n // 1000}/{utterance}.wav\n")
        files["text"].write(f"{utterance} a dog runs through the snow\n")
        files["utt2spk"].write(f"{utterance} {utterance[:10]}\n")
        files["utt2image"].write(f"{utterance} {image}\n")
        files["words.ctm"].write(f"{utterance} 1 0.1 0.3 a\n{utterance} 1 0.4 0.3 dog\n")
        files["keywords.jsonl"].write(json.dumps({"utt": utterance} | record) + "\n")
    for file in files.values():
        file.close()
    lines = (f"image{n:08d} /data/corpus/images/{n}.jpg\n" for n in range(-(-number // 5)))
    (directory / "image.scp").write_text("".join(lines))


def make_pictures(directory: Path, number: int) -> Path:
    """Small pictures, all different."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for n in range(number):
        folder = directory / f"{n // 1000:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(folder / f"{n}.png")
    return directory
