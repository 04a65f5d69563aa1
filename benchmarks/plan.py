"""What an index of very many images or hours of speech needs: calculated, not run.

Every assumption is an option; docs/benchmarks.json gives the default where it has the number.

Example:
    python -m benchmarks.plan --images 3e8 --gpu_tflops 300 --json
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.results import PAGE, digits

HOUR, GB = 3600, 1e9


class Assumption(NamedTuple):
    """A number that the plan rests on: its default, what it is, whether it was measured."""

    value: float
    what: str
    measured: bool = False


def assumptions(results: dict[str, Any]) -> dict[str, Assumption]:
    """All assumptions by their options, given the benchmarks' results."""
    step = results["full_size_step"]["rows"][0]
    gflop = 1000 * _number(r"([\d.]+) of them the encoder", step["note"])
    core_seconds = step["bound"]["median"] * _number(r"(\d+) threads", step["note"])
    speech_hours = _number(r"([\d,]+) s$", step["what"]) / HOUR
    notes = " ".join(row["note"] for row in results["search"]["rows"])
    search = next(row for row in results["search"]["rows"] if " 4,000 cand" in row["what"])
    rows = _number(r"^([\d,]+) ", search["what"])
    exact, codes = (search[each]["median"] / rows * 1e9 for each in ("baseline", "ours"))
    return {
        "dim": Assumption(512, "numbers of a vector: CLIP ViT-B/32"),
        "number_bytes": Assumption(2, "of such a number, in the index and in parts"),
        "catalog_bytes": Assumption(_number(r"catalog (\d+)", notes), "of a row's entry", True),
        "part_bytes": Assumption(200, "of a row in a part, without its vector"),
        "windows_of_hour": Assumption(900, "windows of an hour of speech, 4 s each"),
        "gflop_of_image": Assumption(8.8, "CLIP ViT-B/32"),
        "gflop_of_hour": Assumption(gflop / speech_hours, "HuBERT base", True),
        "core_gflops": Assumption(gflop / core_seconds, "of a core in a second", True),
        "gpu_tflops": Assumption(100, "of a GPU in a second"),
        "reading_ms": Assumption(10, "of a core, to read and decode an image"),
        "shard_rows": Assumption(rows, "rows of a shard, as many as were searched", True),
        "shard_cores": Assumption(2, "cores that search a shard"),
        "exact_ns": Assumption(exact, "of a core, to compare a vector", True),
        "codes_ns": Assumption(codes, "of a core and vector, to search by codes", True),
        "graph_bytes": Assumption(256, "of a row in a store's graph (HNSW), beside its vector"),
        "graph_ms": Assumption(10, "to search a shard of such a store"),
        "network_ms": Assumption(5, "to ask all shards and merge their answers"),
    }


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise ValueError(f"{PAGE}: no {pattern} in {text!r}; run that benchmark again")
    return float(found[1].replace(",", ""))


def plan(a: dict[str, float], *, images: float = 0, hours: float = 0) -> dict[str, float]:
    """What an index of so many images and hours of speech needs under assumptions."""
    rows = images + hours * a["windows_of_hour"]
    gflop = images * a["gflop_of_image"] + hours * a["gflop_of_hour"]
    reading = images * a["reading_ms"] / 1000 / HOUR
    vector, code = a["dim"] * a["number_bytes"], a["dim"] / 8 + 8
    shard = min(rows, a["shard_rows"])
    return {
        "rows": rows,
        "parts, GB": rows * (vector + a["part_bytes"]) / GB,
        "vectors, GB": rows * vector / GB,
        "codes, GB": rows * code / GB,
        "catalogs, GB": rows * a["catalog_bytes"] / GB,
        "core hours without a GPU": gflop / a["core_gflops"] / HOUR + reading,
        "GPU hours": gflop / a["gpu_tflops"] / 1000 / HOUR,
        "core hours beside the GPUs": reading,
        "shards": math.ceil(rows / a["shard_rows"]),
        "memory of a shard, codes, GB": shard * code / GB,
        "memory of a shard, graph, GB": shard * (vector + a["graph_bytes"]) / GB,
        "answer, all vectors, ms": shard * a["exact_ns"] / a["shard_cores"] / 1e6 + a["network_ms"],
        "answer, codes, ms": shard * a["codes_ns"] / a["shard_cores"] / 1e6 + a["network_ms"],
        "answer, graph, ms": a["graph_ms"] + a["network_ms"],
    }


def main(cmd: Sequence[str] | None = None) -> None:
    """Prints a column for each size, and the assumptions."""
    known = assumptions(json.loads(PAGE.read_text(encoding="utf-8")))
    parser = argparse.ArgumentParser(prog="benchmarks.plan", description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="*", type=float, default=[1e8, 1e9], metavar="NUMBER")
    parser.add_argument("--hours", nargs="*", type=float, default=[1e5], metavar="NUMBER")
    parser.add_argument("--json", action="store_true", help="print JSON")
    for name, (value, what, _) in known.items():
        parser.add_argument(f"--{name}", type=float, default=value, help=f"{what}: {digits(value)}")
    args = parser.parse_args(cmd)
    used = {name: getattr(args, name) for name in known}
    if min([*used.values(), *args.images, *args.hours]) <= 0:
        parser.error("every number must be greater than 0")
    plans = {f"{number:,.0f} images": plan(used, images=number) for number in args.images}
    plans |= {f"{number:,.0f} hours": plan(used, hours=number) for number in args.hours}
    if args.json:
        print(json.dumps({"assumptions": used, "plans": plans}, indent=1))
        return
    print(f"{'':28}", *(f"{title:>22}" for title in plans))
    for line in next(iter(plans.values()), {}):
        print(f"{line:28}", *(f"{digits(each[line]):>22}" for each in plans.values()))
    print("\nAssumptions, each an option:")
    for name, (value, what, measured) in known.items():
        source = "given" if used[name] != value else "measured" if measured else "assumed"
        print(f"  --{name:17}{digits(used[name]):>12}  {source:9} {what}")


if __name__ == "__main__":
    main()
