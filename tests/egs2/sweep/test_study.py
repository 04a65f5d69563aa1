"""Comparisons of runs that are made here, and can be computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from local.sweep.comparisons import compare, holm, paired_t_test
from local.sweep.runs import MEASURES, read_runs, title_of
from local.sweep.study import main, study_table

from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.evaluation.report.write import write_results
from tests.espnet_plugin.evaluation.conftest import write_set

RECALL, DUPLICATES, BOUNDARY_F = "image first (utterance)", "repeats", "boundary F, 50 ms"


@pytest.fixture
def runs_file(tmp_path: Path) -> Path:
    """Two systems with two seeds, the second system hears nothing but noise."""
    lines = []
    for system, noise in (("hybrid", 0.3), ("hybrid.noise", 30.0)):
        for seed in (0, 1):
            directory = tmp_path / f"{system}_{seed}"
            write_set(directory / "test", seed=seed, noise=noise)
            np.save(directory / "test" / "image.npy", images())
            write_results(directory, figures=False, report=False)
            lines.append(f"{system}\t{seed}\t{directory / 'scores.json'}\n")
    (tmp_path / "runs.tsv").write_text("".join(lines))
    return tmp_path / "runs.tsv"


def images() -> np.ndarray:
    vectors = np.random.default_rng(9).standard_normal((6, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_differences_are_those_of_the_scores(runs_file: Path) -> None:
    runs = read_runs(runs_file)
    (found,) = compare(runs, "hybrid.noise", "hybrid", [RECALL])
    scores = [json.loads(run.path.read_text()) for run in runs]
    recalls = [found["parallel"]["speech_to_image"]["recall@1"] for found in scores]
    differences = [recalls[2] - recalls[0], recalls[3] - recalls[1]]
    assert found.difference == pytest.approx(np.mean(differences))
    assert found.deviation == pytest.approx(np.std(differences, ddof=1))
    assert (found.runs, found.better) == (2, sum(d > 0 for d in differences))
    assert found.p_runs == pytest.approx(paired_t_test(differences))
    assert 0 < found.p_images <= 1


def test_where_lower_is_better_a_lower_number_is_better(runs_file: Path) -> None:
    runs = read_runs(runs_file)
    for run in runs:
        run.scores["keywords"]["duplicate_rate"] = 0.1 if run.system == "hybrid" else 0.3
    (found,) = compare(runs, "hybrid", "hybrid.noise", [DUPLICATES])
    assert found.difference == pytest.approx(-0.2) and found.better == 2


def test_runs_on_two_corpora_are_not_pairs_of_one_test(runs_file: Path) -> None:
    runs = read_runs(runs_file)
    for run in (runs[1], runs[3]):  # seed 1 of both, with other images of the same names
        np.save(run.directory / "image.npy", -images())
    with pytest.raises(ValueError, match="not about the same test set"):
        compare(runs, "hybrid", "hybrid.noise", [RECALL])


@pytest.mark.parametrize("measure", [RECALL, "speech first (utterance)", DUPLICATES])
def test_utterances_that_share_recordings_are_not_independent(
    measure: str, runs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where another corpus of this name lies
    other = tmp_path / "dump" / "raw" / "test"
    other.mkdir(parents=True)
    utterances = read_scp(read_runs(runs_file)[0].directory / "utterances.txt")
    write_scp(other / "utt2recordings", {u: f"b{row // 2}" for row, u in enumerate(utterances)})
    *_, recordings = read_runs(runs_file)[0].values(measure)
    assert recordings is None
    halves = {u: f"a{row % 2}" for row, u in enumerate(utterances)}
    for run in read_runs(runs_file):
        write_scp(run.directory / "utt2recordings", halves)
    (found,) = compare(read_runs(runs_file), "hybrid", "hybrid.noise", [measure])
    assert found.p_images >= 0.5  # of two recordings, both signs are alike by chance


def test_a_study_says_of_which_runs_the_recordings_are_unknown(
    runs_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = ["--runs", str(runs_file), "--output_dir", str(tmp_path), "--measures", RECALL]
    main(options)
    assert not caplog.records
    runs = read_runs(runs_file)
    for run in runs[1:]:
        (run.directory / "utt2recordings").unlink()
    main(options)
    assert sorted(caplog.messages) == sorted(
        f"{run.directory}/utt2recordings is missing, as in outputs of before stage 8 wrote it: "
        "intervals and tests take it that no two utterances share a recording"
        for run in runs[1:]
    )
    write_scp(runs[0].directory / "utt2recordings", {"i0_0": "a", "i1_0": "a"})
    with pytest.raises(SystemExit, match="not about the same test set"):
        main(options)
    runs[2].path.write_text(json.dumps({**runs[2].scores, "recordings": 2}))
    with pytest.raises(SystemExit, match=f"{runs[2].directory} lacks utt2recordings.* 8 and 9"):
        main(options)


def test_measures_that_a_system_lacks_are_left_out(runs_file: Path) -> None:
    runs = read_runs(runs_file)
    del runs[3].scores["keywords"]["duplicate_rate"]
    assert compare(runs, "hybrid", "hybrid.noise", [DUPLICATES]) == []
    assert compare(runs, "hybrid", "parallel", [RECALL]) == []


def test_boundaries_are_tested_by_their_values(runs_file: Path) -> None:
    runs = read_runs(runs_file)
    for run in runs:
        value = 0.5 + 0.1 * (run.system == "hybrid")
        run.scores["keywords"]["boundaries"] = {"f_score": value}
        scores = dict.fromkeys(run.data.utterances, value)
        write_scp(run.directory / "scoring" / "boundary_f", scores)
    (found,) = compare(runs, "hybrid", "hybrid.noise", [BOUNDARY_F])
    assert found.difference == pytest.approx(0.1)
    assert found.p_images == pytest.approx(2 / 2**6, abs=0.01)  # 2 of 64 patterns of six images


def test_both_branches_are_compared_where_dev_gave_their_weight(runs_file: Path) -> None:
    runs = read_runs(runs_file)
    for run in runs:
        run.scores["fusion"] = {
            "weight_of_parallel": 1.0,
            "speech_to_image": run.scores["parallel"]["speech_to_image"],
        }
    both, parallel = compare(runs, "hybrid", "hybrid.noise", ["image first (both)", RECALL])
    assert both.p_images == parallel.p_images


def test_a_study_has_means_deviations_runs_and_p(
    runs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--runs", str(runs_file), "--output_dir", str(tmp_path), "--measures", RECALL]
    main(options)
    study = json.loads((tmp_path / "study.json").read_text())
    assert study["set"] == {"name": "test", "utterances": 12, "images": 6}
    numbers = [run.numbers[RECALL] for run in read_runs(runs_file) if run.system == "hybrid"]
    mean = study["systems"]["hybrid"][RECALL]
    assert mean["runs"] == 2 and mean["mean"] == pytest.approx(np.mean(numbers), rel=1e-4)
    (compared,) = study["comparisons"]
    assert (compared["first"], compared["second"]) == ("hybrid.noise", "hybrid")
    table = capsys.readouterr().out
    name = "| hybrid.noise | R@1 (speech → image), parallel |"
    row = next(line for line in table.splitlines() if name in line)
    assert f"| hybrid | {100 * compared['difference']:+.1f} | {compared['better']}/2 |" in row
    assert all(" – | – |" in line for line in table.splitlines() if "| hybrid | " in line[:11])
    with pytest.raises(SystemExit, match="--measures: wit is none of"):
        main([*options, "wit"])


def test_a_study_has_the_seconds_of_training(
    runs_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run, seconds in zip(read_runs(runs_file), (100.0, 120.0, 130.0, 130.0), strict=True):
        run.path.write_text(json.dumps({**run.scores, "training_cpu_seconds": seconds}))
    main(["--runs", str(runs_file), "--output_dir", str(tmp_path), "--measures", RECALL])
    systems = json.loads((tmp_path / "study.json").read_text())["systems"]
    mean = {"mean": 110.0, "deviation": 14.142, "runs": 2}
    assert systems["hybrid"]["training CPU, s"] == mean
    assert systems["hybrid.noise"]["training CPU, s"]["mean"] == 130.0
    assert "| hybrid | training CPU, s | 110.0 ± 14.1 |" in capsys.readouterr().out


def test_one_run_of_each_has_no_test_over_runs(runs_file: Path) -> None:
    (found,) = compare(read_runs(runs_file)[::2], "hybrid", "hybrid.noise", [RECALL])
    assert found.p_runs is None and found.deviation is None
    numbers = {"mean": 0.5, "deviation": None, "runs": 1}
    comparison = {"first": "b", "second": "a", "measure": RECALL, "difference": 0.1, "runs": 1}
    comparison |= {"better": 1, "p_images": 0.02, "p_runs": None}
    study = {"systems": {"b": {RECALL: numbers}}, "comparisons": [comparison]}
    assert study_table(study).rows[0][2:] == ("50.0", "a", "+10.0", "1/1", "0.0200", "–")


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_t_test() -> None:
    # mean 0.2, standard error 0.1 / √3: t is √12 with two degrees of freedom
    assert paired_t_test([0.1, 0.2, 0.3]) == pytest.approx(0.0742, abs=1e-4)
    assert paired_t_test([0.0, 0.0]) == 1.0


def test_equal_differences_are_no_certainty() -> None:
    assert paired_t_test([0.25] * 5) == 2 / 2**5  # 2 of the 32 patterns of signs
    assert paired_t_test([0.8 - 0.7, 0.3 - 0.2, -0.2 + 0.3]) == 0.25  # equal but for rounding


def test_bad_lists(tmp_path: Path) -> None:
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


def test_names_of_recalls_say_where_they_are() -> None:
    assert MEASURES["image first (both)"] == ("fusion", "speech_to_image", "recall@1")
    assert MEASURES["speech among ten (keywords)"] == ("cascaded", "image_to_speech", "recall@10")


def test_tables_have_the_titles_of_measures() -> None:
    assert title_of("speech among ten (keywords)") == "R@10 (image → speech), cascaded"
    assert title_of("all words right") == "exact match"
    assert title_of(BOUNDARY_F) == BOUNDARY_F
