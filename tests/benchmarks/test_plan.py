from __future__ import annotations

import json

import pytest

from benchmarks.plan import assumptions, main, plan

ROUND = {
    "dim": 1000,
    "number_bytes": 2,
    "catalog_bytes": 300,
    "part_bytes": 500,
    "windows_of_hour": 1000,
    "gflop_of_image": 9,
    "gflop_of_hour": 36_000,
    "core_gflops": 100,
    "gpu_tflops": 10,
    "reading_ms": 36,
    "shard_rows": 1e6,
    "shard_cores": 2,
    "exact_ns": 100,
    "codes_ns": 10,
    "graph_bytes": 500,
    "graph_ms": 8,
    "network_ms": 3,
}


def test_images() -> None:
    """Two and a half million of them; by hand."""
    assert plan(ROUND, images=2.5e6) == {
        "rows": 2.5e6,
        "parts, GB": 6.25,
        "vectors, GB": 5,
        "codes, GB": pytest.approx(0.3325),
        "catalogs, GB": 0.75,
        "core hours without a GPU": 62.5 + 25,
        "GPU hours": 0.625,
        "core hours beside the GPUs": 25,
        "shards": 3,
        "memory of a shard, codes, GB": pytest.approx(0.133),
        "memory of a shard, graph, GB": 2.5,
        "answer, all vectors, ms": 53,
        "answer, codes, ms": 8,
        "answer, graph, ms": 11,
    }


def test_hours() -> None:
    """A hundred hours are a tenth of a shard."""
    needed = plan(ROUND, hours=100)
    assert (needed["rows"], needed["shards"]) == (100_000, 1)
    assert needed["core hours without a GPU"] == 10 and needed["GPU hours"] == pytest.approx(0.1)
    assert needed["answer, all vectors, ms"] == 5 + 3


def test_measured_defaults() -> None:
    step = {"what": "base: 256 utterances, 1,800 s", "bound": {"median": 50.0}}
    step["note"] = "2 threads; 18.3 TFLOP, 15.0 of them the encoder"
    search = {"what": "2,000 clustered vectors, 4,000 candidates", "note": "catalog 321, codes 72"}
    search |= {"ours": {"median": 1e-5}, "baseline": {"median": 1e-4}}
    found = assumptions({"full_size_step": {"rows": [step]}, "search": {"rows": [search]}})
    measured = {name: each.value for name, each in found.items() if each.measured}
    assert measured == {
        "catalog_bytes": 321,
        "gflop_of_hour": 30_000,
        "core_gflops": 150,
        "shard_rows": 2000,
        "exact_ns": pytest.approx(50),
        "codes_ns": pytest.approx(5),
    }
    step["note"] = "none"
    with pytest.raises(ValueError, match="benchmarks.json: no .* of them the encoder"):
        assumptions({"full_size_step": {"rows": [step]}, "search": {"rows": [search]}})


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--hours", "--images", "3e6", "--dim", "768"])
    title, rows, *_ = lines = capsys.readouterr().out.splitlines()
    assert title.split() == ["3,000,000", "images"] and rows.split() == ["rows", "3,000,000"]
    assert {line.split()[2] for line in lines if "--" in line} == {"given", "assumed", "measured"}
    main(["--json", "--dim", "768"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["plans"]) == [
        "100,000,000 images",
        "1,000,000,000 images",
        "100,000 hours",
    ]
    assert found["assumptions"]["dim"] == 768
    assert found["plans"]["100,000,000 images"]["vectors, GB"] == 153.6
    with pytest.raises(SystemExit):
        main(["--hours", "0"])
