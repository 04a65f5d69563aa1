"""The page about a sweep: a table of all systems, the paper's claims one by one, ablations."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from espnet_plugin.evaluation.architectures import architecture_place
from espnet_plugin.evaluation.report.tables import Table, mean_and_deviation
from espnet_plugin.evaluation.scores.files import write_json
from espnet_plugin.evaluation.sweep.comparisons import (
    CASCADED_RECALLS,
    KEYWORD_MEASURES,
    PARALLEL_RECALLS,
    TEACHER_RECALL,
    Comparison,
    Measure,
    Run,
    compare,
    holm,
    keyword_counts,
)
from espnet_plugin.utils.atomic import write_text

SWEEP_FILE = "SWEEP.md"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or of ours: the first system is better than the second."""

    text: str
    first: str
    second: str
    measures: tuple[Measure, ...]


CLAIMS = (
    Claim(
        "Cascaded+ names more of what is said than cascaded, with fewer duplicates",
        "cascaded_plus",
        "cascaded",
        (*KEYWORD_MEASURES, *CASCADED_RECALLS),
    ),
    Claim(
        "Training the cascaded branch beside it helps the parallel branch (hybrid, parallel)",
        "hybrid",
        "parallel",
        PARALLEL_RECALLS,
    ),
    Claim(
        "Hybrid+ is better than hybrid",
        "hybrid_plus",
        "hybrid",
        (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES),
    ),
    Claim(
        "Hybrid+ is better than parallel in the parallel branch",
        "hybrid_plus",
        "parallel",
        PARALLEL_RECALLS,
    ),
    Claim(
        "Hybrid+ annealed is better than hybrid+",
        "hybrid_plus_annealed",
        "hybrid_plus",
        (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES),
    ),
    Claim(
        "Hybrid+ annealed is better than hybrid",
        "hybrid_plus_annealed",
        "hybrid",
        (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES),
    ),
)


def write_sweep(runs: Sequence[Run], output_dir: str | Path) -> str:
    """Writes SWEEP.md, sweep.json and figures; returns the text of the page.

    A system called ``<base>.<change>`` is an ablation and is compared with ``<base>``.
    """
    output_dir = Path(output_dir)
    systems = _systems(runs)
    parts = ["# Sweep", _overview(runs, systems)]
    parts += ["## Retrieval", "Mean ± standard deviation over the seeds, in %."]
    recalls = (*PARALLEL_RECALLS, *CASCADED_RECALLS, TEACHER_RECALL)
    parts.append(_means_table(runs, systems, recalls).markdown())
    with_keywords = [s for s in systems if any(r.data.keywords for r in runs if r.system == s)]
    if with_keywords:
        parts += ["## Keywords", _means_table(runs, with_keywords, KEYWORD_MEASURES).markdown()]
        parts += [
            "## Number of keywords",
            "Slope of the number of keywords over the utterance's length, and Pearson's "
            "correlation of the number with the length and with the caption's sub-words. "
            "The CLS extractor always gives the same number.",
            _counts_table(runs, with_keywords).markdown(),
        ]
    compared = [
        (c.text, compare(runs, c.first, c.second, c.measures))
        for c in CLAIMS
        if c.first in systems and c.second in systems
    ]
    ablations = [
        (f"{system} against {base}", compare(runs, system, base, _ALL_MEASURES))
        for system in systems
        for base, _, change in [system.partition(".")]
        if change and base in systems
    ]
    if compared or ablations:
        parts += ["## Comparisons", _HOW]
    for title, found in (*compared, *ablations):
        if found:
            parts += [f"### {title}", _verdict(found), _comparison_table(found).markdown()]
    for title, path in _draw(runs, systems, output_dir).items():
        parts.append(f"![{title}]({path.relative_to(output_dir).as_posix()})")
    text = "\n\n".join(parts) + "\n"
    write_text(output_dir / SWEEP_FILE, text)
    write_json(output_dir / "sweep.json", _as_json(runs, systems, [*compared, *ablations]))
    return text


_ALL_MEASURES = (*PARALLEL_RECALLS, *CASCADED_RECALLS, *KEYWORD_MEASURES)
_HOW = (
    "Difference of the first and the second system in points, mean ± standard deviation over the "
    "seeds, and its 95 % bootstrap interval over pictures; *seeds*: in how many the first is "
    "better. Two tests ask different questions: *p, pictures* is a sign-flip test over the test "
    "pictures (would other pictures have turned the result?), *p, seeds* a paired t-test over the "
    "trainings (would other trainings have?; where all seeds differ by the same amount, the sign "
    "test's p). Both are two-sided and, within a table, corrected for the number of its rows by "
    "Holm's method. A system is called better where both are below 0.05."
)


def _systems(runs: Sequence[Run]) -> list[str]:
    names = {run.system for run in runs}
    return sorted(names, key=lambda name: ("." in name, architecture_place(name)))


def _overview(runs: Sequence[Run], systems: Sequence[str]) -> str:
    first = runs[0].scores
    seeds = sorted({run.seed for run in runs})
    return (
        f"{len(runs)} runs: {len(systems)} systems, seeds {', '.join(map(str, seeds))}; set "
        f"`{first['test_set']}` of {first['utterances']} utterances, {first['images']} pictures."
    )


def _means_table(runs: Sequence[Run], systems: Sequence[str], measures: Sequence[Measure]) -> Table:
    shown = [run for run in runs if run.system in systems]
    measures = [m for m in measures if any(run.value(m) is not None for run in shown)]
    rows = []
    for system in systems:
        group = [run for run in shown if run.system == system]
        means = [mean_and_deviation(run.value(measure) for run in group) for measure in measures]
        rows.append((system, str(len(group)), *means))
    return Table(("system", "runs", *(measure.name for measure in measures)), tuple(rows))


def _counts_table(runs: Sequence[Run], systems: Sequence[str]) -> Table:
    rows = []
    for system in systems:
        counts = [keyword_counts(run) for run in runs if run.system == system and run.data.keywords]
        cells = [
            mean_and_deviation((count[name] for count in counts), scale=1, digits=2)
            for name in ("keywords", "subwords", "per_second", "r_seconds", "r_subwords")
        ]
        rows.append((system, *cells))
    header = ("system", "keywords", "sub-words", "keywords per s", "r, length", "r, sub-words")
    return Table(header, tuple(rows))


def _comparison_table(found: Sequence[Comparison]) -> Table:
    rows = []
    for comparison, p_images, p_seeds in _corrected(found):
        sign = 1 if comparison.measure.higher_is_better else -1
        better = sum(sign * difference > 0 for difference in comparison.differences)
        interval = comparison.interval
        rows.append(
            (
                comparison.measure.name + ("" if sign > 0 else " (lower is better)"),
                mean_and_deviation(comparison.differences, sign="+"),
                f"{100 * interval.lower:+.1f} to {100 * interval.upper:+.1f}",
                f"{better}/{len(comparison.seeds)}",
                _p(p_images),
                "–" if math.isnan(comparison.p_seeds) else _p(p_seeds),
            )
        )
    header = ("measure", "difference", "95 %, pictures", "seeds", "p, pictures", "p, seeds")
    return Table(header, tuple(rows))


def _verdict(found: Sequence[Comparison]) -> str:
    if len(found[0].seeds) < 2:
        return (
            "One training of each: whether others would agree is not known, so none is called "
            "better, however small *p, pictures*."
        )
    better, worse, open_ = [], [], []
    for comparison, p_images, p_seeds in _corrected(found):
        mean = statistics.mean(comparison.differences)
        mean *= 1 if comparison.measure.higher_is_better else -1
        if max(p_images, p_seeds) >= 0.05:
            open_.append(comparison.measure.name)
        else:
            (better if mean > 0 else worse).append(comparison.measure.name)
    first, second = found[0].first, found[0].second
    parts = []
    for names, what in (
        (better, f"{first} is better than {second} in"),
        (worse, f"{first} is worse than {second} in"),
        (open_, "no difference by both tests in"),
    ):
        if names:
            parts.append(f"{what} {', '.join(names)}.")
    return " ".join(part[0].upper() + part[1:] for part in parts)


def _corrected(found: Sequence[Comparison]) -> list[tuple[Comparison, float, float]]:
    """Comparisons with their p-values over pictures and over seeds, by Holm's method."""
    images = holm([c.p_images for c in found])
    seeds = holm([1.0 if math.isnan(c.p_seeds) else c.p_seeds for c in found])
    return list(zip(found, images, seeds, strict=True))


def _draw(runs: Sequence[Run], systems: Sequence[str], output_dir: Path) -> dict[str, Path]:
    try:
        from espnet_plugin.evaluation.figures import style
        from espnet_plugin.evaluation.figures import sweep as figures

        drawn = {"All runs": style.save(figures.draw_runs(runs, systems), output_dir / "runs")}
        counted = [s for s in systems if s.endswith("_plus")]
        if any(run.data.keywords for run in runs if run.system in counted):
            figure = figures.draw_keyword_numbers(runs, counted)
            drawn["Number of keywords"] = style.save(figure, output_dir / "keyword_numbers")
    except ImportError as error:
        logging.warning(f"no figures ({error}): pip install 'speechclip-plus[recipe]'")
        return {}
    return drawn


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _as_json(
    runs: Sequence[Run], systems: Sequence[str], compared: Sequence[tuple[str, list[Comparison]]]
) -> dict:
    return {
        "systems": {
            system: {
                str(run.seed): {
                    ".".join(m.path): run.value(m) for m in (*_ALL_MEASURES, TEACHER_RECALL)
                }
                for run in runs
                if run.system == system
            }
            for system in systems
        },
        "comparisons": [
            {"title": title, **asdict(c), "measure": ".".join(c.measure.path)}
            for title, found in compared
            for c in found
        ],
    }
