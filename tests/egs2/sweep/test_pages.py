"""Numbers of pages, from sweeps that can be computed by hand."""

from __future__ import annotations

import pytest
from local.sweep.pages import Numbers, measure_of, wrap

RECALL, REPEATS = "content-word recall", "duplicates"
NAMES = (measure_of(RECALL), measure_of(REPEATS), "training_cpu_seconds")
RUNS = {
    "new": {"1/0": (0.9, 0.1, 30.0), "1/1": (0.9445, 0.2, 30.0), "2/0": (0.5, 0.3, 90.0)},
    "base": {"1/0": (0.8, 0.2, 20.0), "1/1": (0.9, 0.3, 20.0)},
    "new.without": {"1/0": (0.89, 0.2, 1.0), "1/1": (0.95, 0.22, 1.0)},
}
SWEEP = {
    "systems": {
        system: {seed: dict(zip(NAMES, run, strict=True)) for seed, run in runs.items()}
        for system, runs in RUNS.items()
    },
    "counts": {"new": {"keywords": [4.25, 0.1]}},
    "hard_negatives": {"new": {"cascaded, thing": [0.601, 0.01]}},
}
NUMBERS = Numbers({"sweep": SWEEP})


def test_numbers_of_sentences() -> None:
    assert NUMBERS.mean("sweep/base", RECALL) == "85.0"
    assert NUMBERS.mean("sweep/new/1", RECALL) == "92.2"  # 92.225
    assert NUMBERS.mean("sweep/new/2", RECALL) == "50.0"
    assert NUMBERS.mean("", RECALL) == NUMBERS.mean("sweep/new", "precision") == "–"
    assert NUMBERS.spread("sweep/base", RECALL) == "85.0 ± 7.1"  # 5 times the root of two
    assert NUMBERS.cpu_ratio("sweep/new", "sweep/base") == "2.50"
    assert NUMBERS.count("sweep/new", "keywords", digits=2) == "4.25"
    assert NUMBERS.told_apart("sweep/new", "cascaded", "thing") == "60.1"


def test_a_tie_is_rounded_up() -> None:
    run = {"0": {measure_of(RECALL): 0.5865}}  # 58.65 in binary is below
    assert Numbers({"a": {"systems": {"b": run}}}).mean("a/b", RECALL) == "58.7"


def test_a_part_pays_if_each_run_is_worse_without_it_and_the_mean_by_a_point() -> None:
    whole, without = "sweep/new", "sweep/new.without"
    assert not NUMBERS.pays(whole, without, RECALL)  # by one point in one run, in no other
    assert NUMBERS.pays(whole, without, REPEATS)
    assert not NUMBERS.pays(whole, without, "precision")  # nobody measured it
    table = NUMBERS.parts_table(whole, {"a part": "without"}, [RECALL, REPEATS])
    assert table.splitlines()[2:] == ["| nothing | 78.2 | 20.0 |", "| a part | 92.0 | **21.0** |"]


@pytest.mark.parametrize(
    ("label", "measure"),
    [
        ("cascaded → image R@1", "cascaded.speech_to_image.recall@1"),
        ("image → parallel R@10", "parallel.image_to_speech.recall@10"),
        ("both → image R@1", "fusion.speech_to_image.recall@1"),
        ("keywords.languages.sw.precision", "keywords.languages.sw.precision"),
    ],
)
def test_recalls_are_named_by_the_branch(label: str, measure: str) -> None:
    assert measure_of(label) == measure


def test_paragraphs_are_filled_and_nothing_else() -> None:
    table, code = "| a |\n| - |", "    ./run.sh " + 130 * "x"
    words = " ".join(39 * ["ab"]) + " 100 %"  # the sign would begin the second line
    text = wrap(f"# Title\n\nShort\nlines.\n\n{table}\n\n{code}\n\n{words} {words}\n")
    assert text.startswith(f"# Title\n\nShort lines.\n\n{table}\n\n{code}\n\nab ")
    assert all(not line.startswith("%") for line in text.splitlines())
    assert text.endswith("100 %\n")
