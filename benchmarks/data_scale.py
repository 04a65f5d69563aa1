"""Time and memory of the recipe's stages 1 to 6 on generated corpora of up to SpokenCOCO's size.

A corpus in SpokenCOCO's layout is generated: as many captions as asked for, five of a picture, with
recordings that repeat a few short files and pictures that are links to a few small ones, so that
what is measured is the recipe's own work and not the disk's or a model's. The stages run as
``run.sh`` runs them; CLIP is a tiny one with random weights. Each stage's wall time and the largest
resident memory of any of its processes are printed, and how they grow with the corpus.

Example:
    python -m benchmarks.data_scale --captions 60000 200000 600000 --work_dir scratch
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measure import MIB, get_parser, show, usage_of

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


def tiny_clip(path: Path) -> None:
    """An open_clip configuration whose towers cost next to nothing."""
    vision = {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))


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
    if (root / ".done").exists():
        return root
    shutil.rmtree(root, ignore_errors=True)
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
    (root / ".done").touch()
    return root


def make_recipe(work: Path, captions: int) -> Path:
    """A folder in which the recipe runs without touching the project."""
    folder = work / f"run_{captions}" / "egs2" / "speechclip_plus"
    shutil.rmtree(work / f"run_{captions}", ignore_errors=True)
    # a copy: a script that is edited while it runs would be read from the wrong place
    made = shutil.ignore_patterns("data", "downloads", "dump", "exp")
    shutil.copytree(RECIPE, folder, symlinks=True, ignore=made)
    (work / f"run_{captions}" / "espnet_plugin").symlink_to(ROOT / "espnet_plugin")
    return folder


def run_stage(folder: Path, corpus: Path, work: Path, stage: int, jobs: int) -> dict[str, float]:
    """Runs one stage and measures it.

    Raises:
        RuntimeError: It failed.
    """
    command = ["./run.sh", "--corpus", "spokencoco", "--stage", str(stage)]
    command += ["--stop_stage", str(stage), "--python", sys.executable, "--ngpu", "0"]
    command += ["--nj", str(jobs), "--inference_nj", str(jobs), "--audio_format", "wav"]
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
            usage = usage_of(command, cwd=folder, env=environment, stdout=log, stderr=log)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"stage {stage} failed; see {path}") from error
    seconds = {"seconds": usage.seconds, "cpu_seconds": usage.cpu_seconds}
    return seconds | {"peak_mib": usage.peak / MIB}


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log value over log size: 1 is linear, 0 is flat."""
    return (
        float(np.polyfit(np.log(sizes), np.log(values), 1)[0]) if len(sizes) > 1 else float("nan")
    )


def table(results: dict[int, dict[str, dict[str, float]]]) -> str:
    """Processor seconds and memory by stage and size, and how they grow."""
    sizes = sorted(results)
    heads = " | ".join(f"{size:,}: s | CPU s | MiB" for size in sizes)
    rows = [f"| stage | {heads} | CPU s grow as size^ | MiB grow as size^ | CPU µs a caption |"]
    rows.append("|---" * (3 * len(sizes) + 4) + "|")
    for stage in results[sizes[0]]:
        measured = [results[size][stage] for size in sizes]
        cells = " | ".join(
            f"{m['seconds']:.1f} | {m['cpu_seconds']:.1f} | {m['peak_mib']:.0f}" for m in measured
        )
        time_growth = exponent(sizes[-2:], [m["cpu_seconds"] for m in measured[-2:]])
        growth = exponent(sizes[-2:], [m["peak_mib"] for m in measured[-2:]])
        micro = measured[-1]["cpu_seconds"] / sizes[-1] * 1e6
        rows.append(f"| {stage} | {cells} | {time_growth:.2f} | {growth:.2f} | {micro:.0f} |")
    return "\n".join(rows)


def main(cmd: Sequence[str] | None = None) -> None:
    """Measures all sizes, smallest first."""
    parser = get_parser(__doc__)
    parser.add_argument("--captions", type=int, nargs="+", default=[60000, 200000, 600000])
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--work_dir", type=Path, required=True)
    parser.add_argument("--nj", type=int, default=1, help="parallel jobs of each stage")
    parser.add_argument("--keep", action="store_true", help="keep the corpora and outputs")
    args = parser.parse_args(cmd)
    work = args.work_dir.resolve()
    make_media(work)
    tiny_clip(work / "clip.json")
    results: dict[int, dict[str, dict[str, float]]] = {}
    for captions in sorted(args.captions):
        started = time.monotonic()
        corpus = make_corpus(work, captions)
        print(f"{captions:,} captions generated in {time.monotonic() - started:.0f} s", flush=True)
        folder = make_recipe(work, captions)
        # a second run of 2 and 4 finds its recordings and embeddings there
        names = {str(stage): stage for stage in args.stages}
        names |= {f"{stage} again": stage for stage in (2, 4) if stage in args.stages}
        results[captions] = {}
        for name, stage in names.items():
            measured = run_stage(folder, corpus, work, stage, args.nj)
            results[captions][name] = measured
            print(f"  stage {name}: {json.dumps(measured)}", flush=True)
        if not args.keep:
            shutil.rmtree(folder.parents[1])
            shutil.rmtree(corpus)
    show(table(results), results, args.output)


if __name__ == "__main__":
    main()
