from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from local.sweep import protocol
from local.sweep.comparisons import (
    compare,
    holm,
    keyword_counts,
    paired_t_test,
)
from local.sweep.report import sweep_report
from local.sweep.runs import (
    BOUNDARY_F,
    FUSED_RECALLS,
    KEYWORD_MEASURES,
    PARALLEL_RECALLS,
    Measure,
    Run,
    read_runs,
)
from local.sweep.show_sweep import main, read_sweep
from local.sweep.summary import summarize, system_place, write_sweep

from espnet_plugin.data.scp import write_scp
from espnet_plugin.evaluation.report.write import write_results
from tests.espnet_plugin.evaluation.conftest import write_set
from tests.pages import PROJECT

RESULTS = PROJECT / "egs2" / "speechclip_plus" / "results"
SWEEPS = sorted(RESULTS.glob("*/sweep.json"))


@pytest.fixture
def runs_file(tmp_path):
    """Two systems with two seeds, the second system hears nothing but noise."""
    lines = []
    for system, noise in (("hybrid", 0.3), ("hybrid.noise", 30.0)):
        for seed in (0, 1):
            directory = tmp_path / f"{system}_{seed}"
            write_set(directory / "test", seed=seed, noise=noise)
            np.save(directory / "test" / "image.npy", _pictures())
            write_results(directory, figures=False, report=False)
            lines.append(f"{system}\t{seed}\t{directory / 'scores.json'}\n")
    (tmp_path / "runs.tsv").write_text("".join(lines))
    return tmp_path / "runs.tsv"


def _pictures() -> np.ndarray:
    pictures = np.random.default_rng(9).standard_normal((6, 8))
    return (pictures / np.linalg.norm(pictures, axis=1, keepdims=True)).astype(np.float32)


def write_page(runs: list[Run], directory: Path) -> str:
    """The page of what was written, which is that of what was found."""
    found = write_sweep(runs, directory)
    page = sweep_report(read_sweep(directory / "sweep.json"))
    assert page == sweep_report(found)
    return page


@pytest.mark.parametrize("name", [path.parent.name for path in SWEEPS])
def test_every_published_sweep_has_a_page(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--output_dir", str(RESULTS / name)])
    page = capsys.readouterr().out
    systems = json.loads((RESULTS / name / "sweep.json").read_text())["systems"]
    for system, runs in systems.items():
        assert f"| {system} | {len(runs)} | " in page


def test_a_page_of_no_sweep_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(SystemExit, match="sweep.json is not a sweep.json of scripts/sweep.sh"):
        main(["--output_dir", str(tmp_path)])


def test_differences_are_those_of_the_scores(runs_file):
    runs = read_runs(runs_file)
    measure = PARALLEL_RECALLS[0]
    (found,) = compare(runs, "hybrid", "hybrid.noise", [measure])
    values = [json.loads(run.path.read_text()) for run in runs]
    recalls = [scores["parallel"]["speech_to_image"]["recall@1"] for scores in values]
    assert found.seeds == ("0", "1")
    assert found.differences == pytest.approx((recalls[0] - recalls[2], recalls[1] - recalls[3]))
    assert found.interval.lower <= np.mean(found.differences) <= found.interval.upper
    assert 0 < found.p_images <= 1


def test_pictures_are_told_apart_by_corpus(runs_file):
    first, second, *_ = read_runs(runs_file)
    assert set(first.units) == set(second.units)  # both seeds saw the same pictures
    pictures = np.load(second.directory / "image.npy")
    np.save(second.directory / "image.npy", -pictures)
    del second.data, second.units
    assert not set(first.units) & set(second.units)


def test_measures_that_a_system_lacks_are_left_out(runs_file):
    runs = read_runs(runs_file)
    lacking = Measure("x", ("keywords", "no_such_rate"))
    assert compare(runs, "hybrid", "hybrid.noise", [lacking]) == []
    assert compare(runs, "hybrid", "parallel", KEYWORD_MEASURES) == []


def test_page(runs_file, tmp_path):
    text = write_page(read_runs(runs_file), tmp_path / "out")
    assert "4 runs: 2 systems, seeds 0, 1; set `test` of 12 utterances, 6 images." in text
    assert "### hybrid.noise against hybrid" in text
    assert "| duplicates (lower is better) | +0.0 ± 0.0 |" in text
    stored = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert set(stored["systems"]) == {"hybrid", "hybrid.noise"}
    assert stored["comparisons"][0]["seeds"] == ["0", "1"]
    assert stored["counts"]["hybrid"]["keywords"] == [3.0, 0.0]
    assert stored["set"] == {"name": "test", "utterances": 12, "images": 6}


def test_other_languages_are_kept_by_name(runs_file):
    run = read_runs(runs_file)[0]
    own = run.scores["keywords"].setdefault("languages", {})
    own["sw"] = {"content_word_recall": 0.5, "reported": {"precision": None}}
    run.scores["cascaded"]["speech_to_other_languages"] = {"recall@1": 0.25}
    (values,) = summarize([run])["systems"]["hybrid"].values()
    assert values["keywords.languages.sw.content_word_recall"] == 0.5
    assert values["keywords.languages.sw.reported.precision"] is None
    assert values["cascaded.speech_to_other_languages.recall@1"] == 0.25


def test_the_fusion_is_compared_where_dev_gave_its_weight(runs_file):
    runs = read_runs(runs_file)
    for run in runs:
        run.scores["fusion"] = {
            "weight_of_parallel": 1.0,
            "speech_to_image": run.scores["parallel"]["speech_to_image"],
        }
    (fused,) = compare(runs, "hybrid", "hybrid.noise", FUSED_RECALLS[:1])
    (parallel,) = compare(runs, "hybrid", "hybrid.noise", PARALLEL_RECALLS[:1])
    assert fused.p_images == parallel.p_images and fused.interval == parallel.interval


def test_boundaries_are_tested_by_their_values(runs_file):
    runs = read_runs(runs_file)
    for run in runs:
        better = run.system == "hybrid"
        run.scores["keywords"]["boundaries"] = {"f_score": 0.5 + 0.1 * better}
        scores = dict.fromkeys(run.data.utterances, 0.5 + 0.1 * better)
        write_scp(run.directory / "scoring" / "boundary_f", scores)
    (found,) = compare(runs, "hybrid", "hybrid.noise", [BOUNDARY_F])
    assert found.differences == pytest.approx((0.1, 0.1))
    assert tuple(found.interval) == pytest.approx((0.1, 0.1))


def test_a_new_recipe_is_compared_as_declared(runs_file, tmp_path, monkeypatch):
    text = runs_file.read_text().replace("hybrid.noise\t", "hybrid_plus_annealed\t")
    runs_file.write_text(text)
    runs = read_runs(runs_file)
    for run in runs:
        run.scores["training_cpu_seconds"] = 100.0 if run.system == "hybrid" else 120.0
    monkeypatch.setattr(protocol, "BASELINES", ("hybrid",))
    assert "| target |" not in write_page(runs, tmp_path / "out")  # mini has some, other sets none
    _, targets = protocol.TARGETS["mini_test"]
    monkeypatch.setitem(protocol.TARGETS, "test", (3, targets))
    assert "| target |" not in write_page(runs, tmp_path / "out")  # they are for three trainings
    monkeypatch.setitem(protocol.TARGETS, "test", (2, targets))
    page = write_page(runs, tmp_path / "out")
    assert "### hybrid_plus_annealed, as declared" in page
    assert "| hybrid_plus_annealed | 120 ± 0 | 1.20 |" in page
    assert "| cascaded → image R@1 | ≥ 70 |" in page
    declared = json.loads((tmp_path / "out" / "sweep.json").read_text())["comparisons"]
    assert {tuple(c["seeds"]) for c in declared} == {("0", "1")}
    assert {c["second"] for c in declared} == {"hybrid"}


def test_one_training_of_each_has_no_test_over_seeds(runs_file, tmp_path):
    text = write_page([run for run in read_runs(runs_file) if run.seed == "0"], tmp_path / "out")
    rows = text.partition("### hybrid.noise against hybrid")[2].strip().splitlines()[2:]
    assert len(rows) > 5 and all(row.endswith(" – |") for row in rows)


def test_counts_of_keywords(runs_file):
    counts = keyword_counts(read_runs(runs_file)[0])
    assert counts["keywords"] == 3.0 and counts["subwords"] == 5.0
    assert math.isnan(counts["r_seconds"])  # always three keywords


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.6]) == [1.0, 1.0]


def test_t_test():
    scipy = pytest.importorskip("scipy.stats")
    values = [0.1, 0.3, -0.05, 0.2]
    assert paired_t_test(values) == pytest.approx(scipy.ttest_1samp(values, 0).pvalue)
    assert math.isnan(paired_t_test([1.0]))
    assert paired_t_test([0.0, 0.0]) == 1.0


def test_equal_differences_are_no_certainty():
    assert paired_t_test([0.25] * 5) == 2 / 2**5  # 2 of the 32 patterns of signs
    assert paired_t_test([0.8 - 0.7, 0.3 - 0.2, -0.2 + 0.3]) == 0.25  # equal but for rounding


def test_bad_lists(tmp_path):
    path = tmp_path / "runs.tsv"
    path.write_text("a\t0\tx\na\t0\ty\n")
    with pytest.raises(ValueError, match="a with seed 0 occurs twice"):
        read_runs(path)
    path.write_text("a 0 x\n")
    with pytest.raises(ValueError, match=":1: expected"):
        read_runs(path)
    path.write_text("")
    with pytest.raises(ValueError, match="lists no run"):
        read_runs(path)


def test_order_of_the_systems():
    names = [
        "new",
        "hybrid_plus_annealed",
        "hybrid_plus.x",
        "hybrid+",
        "hybrid",
        "cascaded_plus",
        "parallel",
    ]
    assert sorted(names, key=system_place) == [
        "parallel",
        "cascaded_plus",
        "hybrid",
        "hybrid+",
        "hybrid_plus.x",
        "hybrid_plus_annealed",
        "new",
    ]
