"""The recipe's stages 1 to 6 on a generated corpus of SpokenCOCO's size.

A corpus in SpokenCOCO's layout is generated: as many captions as asked for, five of a picture, with
recordings that repeat a few short files and pictures that are links to a few small ones, so that
what is measured is the recipe's own work and not the disk's or a model's. The stages run as
``run.sh`` runs them; CLIP is a tiny one with random weights.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import MIB, Row, Settings, Spread, Usage, usage_of
from benchmarks.random_models import tiny_clip

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "egs2" / "speechclip_plus"
RECORDINGS = 50
PICTURES = 20
CAPTIONS_PER_PICTURE = 5
WORDS = (
    "a man woman dog cat horse train bus bike riding sitting standing on in of the with near "
    "street field table kitchen red blue white black large small two people holding umbrella "
    "surfboard pizza clock tower bathroom sink toilet giraffe elephant zebra snow skis tennis"
).split()
LONG_SECONDS = 600


def long_rows(settings: Settings) -> Iterator[Row]:
    """Each stage; a second run of 2 and 4 finds its recordings and embeddings there."""
    sizes = (50, 100) if settings.quick else (60_000, 600_000)
    work = settings.work_dir
    make_media(work)
    tiny_clip(work)
    stages = {"1": 1, "2": 2} if settings.quick else {str(stage): stage for stage in range(1, 7)}
    stages |= {"2 again": 2} if settings.quick else {"2 again": 2, "4 again": 4}
    taken: dict[int, dict[str, Usage]] = {}
    for captions in sizes:
        corpus, folder = make_corpus(work, captions), make_recipe(work, captions)
        taken[captions] = {
            name: run_stage(folder, corpus, work, stage) for name, stage in stages.items()
        }
    small, large = sizes
    for name in stages:
        less, more = taken[small][name], taken[large][name]
        yield Row(
            f"stage {name}, {large:,} captions",
            Spread.of([more.cpu_seconds]),
            note=f"{more.peak / MIB:,.0f} MiB; of {small:,} captions {less.cpu_seconds:.1f} s, "
            f"{less.peak / MIB:,.0f} MiB",
        )


def make_media(work: Path) -> None:
    """The few files that all corpora repeat."""
    import soundfile
    from PIL import Image

    rng = np.random.default_rng(0)
    wavs = work / "media"
    wavs.mkdir(parents=True, exist_ok=True)
    for n in range(RECORDINGS):
        samples = rng.standard_normal(1600 * (6 + n % 10)) * 0.01
        soundfile.write(wavs / f"{n}.wav", samples, 16000, subtype="PCM_16")
    for n in range(PICTURES):
        pixels = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(wavs / f"{n}.jpg")


def make_corpus(work: Path, captions: int) -> Path:
    """A corpus in SpokenCOCO's and MSCOCO's layout; 4 % of the pictures each are dev and test."""
    root = work / f"corpus_{captions}"
    for year in ("train2014", "val2014"):
        (root / "mscoco" / year).mkdir(parents=True)
    (root / "SpokenCOCO" / "wavs").mkdir(parents=True)
    rng = random.Random(captions)
    records: dict[str, list[dict]] = {"train": [], "val": []}
    images = []
    for n in range(captions // CAPTIONS_PER_PICTURE):
        half, year = ("val", "val2014") if n % 3 == 0 else ("train", "train2014")
        name = f"COCO_{year}_{n:012d}.jpg"
        (root / "mscoco" / year / name).symlink_to(work / "media" / f"{n % PICTURES}.jpg")
        # every recording has a path of its own
        (root / "SpokenCOCO" / "wavs" / str(n)).symlink_to(work / "media")
        spoken = [
            {
                "text": " ".join(rng.choices(WORDS, k=rng.randint(8, 14))).upper(),
                "speaker": f"speaker{rng.randrange(2352)}",
                "uttid": f"{n}_{k}",
                "wav": f"wavs/{n}/{recording}.wav",
            }
            for k, recording in enumerate(rng.sample(range(RECORDINGS), CAPTIONS_PER_PICTURE))
        ]
        records[half].append({"image": f"{year}/{name}", "captions": spoken})
        split = {0: "val", 3: "test"}.get(n % 75, "restval" if half == "val" else "train")
        images.append({"filepath": year, "filename": name, "split": split})
    for half, content in records.items():
        path = root / "SpokenCOCO" / f"SpokenCOCO_{half}.json"
        path.write_text(json.dumps({"data": content}))
    (root / "SpokenCOCO" / "dataset_coco.json").write_text(json.dumps({"images": images}))
    return root


def make_recipe(work: Path, captions: int) -> Path:
    """A folder in which the recipe runs without touching the project."""
    folder = work / f"run_{captions}" / "egs2" / "speechclip_plus"
    # a copy: a script that is edited while it runs would be read from the wrong place
    made = shutil.ignore_patterns("data", "downloads", "dump", "exp")
    shutil.copytree(RECIPE, folder, symlinks=True, ignore=made)
    (work / f"run_{captions}" / "espnet_plugin").symlink_to(ROOT / "espnet_plugin")
    return folder


def run_stage(folder: Path, corpus: Path, work: Path, stage: int) -> Usage:
    """Runs one stage as one job and measures it.

    Raises:
        RuntimeError: It failed.
    """
    command = ["./run.sh", "--corpus", "spokencoco", "--stage", str(stage)]
    command += ["--stop_stage", str(stage), "--python", sys.executable, "--ngpu", "0"]
    command += ["--nj", "1", "--inference_nj", "1", "--audio_format", "wav"]
    command += ["--clip_model", str(work / "clip.json"), "--clip_pretrained", "random"]
    environment = {
        **os.environ,
        "SPOKENCOCO": str(corpus / "SpokenCOCO"),
        "MSCOCO": str(corpus / "mscoco"),
        "OMP_NUM_THREADS": "1",
    }
    path = folder.parents[1] / f"stage{stage}.log"
    with path.open("w") as log:
        try:
            return usage_of(command, cwd=folder, env=environment, stdout=log, stderr=log)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"stage {stage} failed:\n{path.read_text()[-2000:]}") from error
