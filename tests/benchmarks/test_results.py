from __future__ import annotations

import json
from pathlib import Path

from benchmarks.measure import Row, Spread
from benchmarks.results import page, shown, table, update
from tests.pages import PROJECT

DOCS = PROJECT / "docs"


def test_values_have_three_digits_and_their_spread() -> None:
    assert shown(Spread(0.0123, 0.012, 0.0131, 9)) == "12.3 ms (12–13.1)"
    assert shown(Spread(1234.5, 1234.5, 1234.5, 1)) == "1,234 s"


def test_factors_say_how_much_more() -> None:
    two, six = Spread.of([2.0]), Spread.of([6.0])
    fast = Row("x", two, baseline=six, baseline_is="a loop", bound=two, bound_is="a product")
    assert table([fast]).splitlines()[-1] == (
        "| x | 2 s | 6 s, **3 ×**: a loop | 2 s, ours 1 ×: a product |"
    )
    slow = Row("x", six, bound=two, bound_is="alone", note="n")
    assert table([slow]).splitlines()[-1] == "| x (n) | 6 s |  | 2 s, ours 3 ×: alone |"


def test_a_benchmark_replaces_its_own_rows_only(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    names = ("date", "processor", "cores", "threads", "python", "torch")
    where = dict.fromkeys(names, "x")
    for name, value in (("b", 1.0), ("a", 2.0), ("b", 3.0)):
        update(path, name, f"Title {name}", where, [Row("row", Spread.of([value]))])
    results = json.loads(path.read_text())
    assert [results[name]["rows"][0]["ours"]["median"] for name in ("a", "b")] == [2.0, 3.0]
    text = path.with_suffix(".md").read_text()
    assert text.index("Title a") < text.index("Title b")
    assert "| row | 3 s |" in text and "| row | 1 s |" not in text


def test_the_page_is_that_of_the_results() -> None:
    results = json.loads((DOCS / "benchmarks.json").read_text("utf-8"))
    assert (DOCS / "benchmarks.md").read_text("utf-8") == page(results)
