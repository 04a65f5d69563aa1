"""Many runs of several systems over seeds: means, deviations, and paired comparisons."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from espnet_plugin.data.scp import text_lines
from espnet_plugin.evaluation.inference_set import InferenceSet, read_inference_set
from espnet_plugin.evaluation.keywords import score_keywords
from espnet_plugin.evaluation.report.results import read_results
from espnet_plugin.evaluation.report.tables import look_up
from espnet_plugin.evaluation.retrieval import RetrievalRanks, rank_embeddings
from espnet_plugin.evaluation.scores.keywords import load_token_texts
from espnet_plugin.evaluation.statistics import Interval, paired_test

_SAME_RATE = 1e-9  # rates and their differences are equal when floats say so but for rounding


@dataclass(frozen=True)
class Measure:
    """What is compared.

    Attributes:
        name: For tables.
        path: Where scores.json has it: branch, direction and ``recall@k``, or ``keywords`` and the
            rate.
        higher_is_better: Which way is up.
    """

    name: str
    path: tuple[str, ...]
    higher_is_better: bool = True


def _recalls(branch: str) -> tuple[Measure, ...]:
    arrows = {"speech_to_image": f"{branch} → image", "image_to_speech": f"image → {branch}"}
    return tuple(
        Measure(f"{arrow} R@{k}", (branch, direction, f"recall@{k}"))
        for direction, arrow in arrows.items()
        for k in (1, 10)
    )


PARALLEL_RECALLS, CASCADED_RECALLS = _recalls("parallel"), _recalls("cascaded")
TEACHER_RECALL = Measure("teacher R@10", ("teacher", "text_to_image", "recall@10"))
KEYWORD_MEASURES = (
    Measure("sub-word hit@1", ("keywords", "subword_hit@1")),
    Measure("sub-word hit@5", ("keywords", "subword_hit@5")),
    Measure("content hit@1", ("keywords", "content_word_hit@1")),
    Measure("content recall", ("keywords", "content_word_recall")),
    Measure("precision", ("keywords", "precision")),
    Measure("duplicates", ("keywords", "duplicate_rate"), higher_is_better=False),
)


@dataclass
class Run:
    """One trained and evaluated model.

    Attributes:
        system: What it is a run of, e.g. ``hybrid_plus``.
        seed: Its seed.
        path: Its scores.json.
    """

    system: str
    seed: int
    path: Path

    @cached_property
    def scores(self) -> dict:
        """Content of scores.json."""
        return read_results(self.path)

    @property
    def directory(self) -> Path:
        """The test set's inference directory."""
        return self.path.parent / self.scores["test_set"]

    @cached_property
    def data(self) -> InferenceSet:
        """Its embeddings."""
        return read_inference_set(self.directory)

    @cached_property
    def units(self) -> np.ndarray:
        """(utterances,) what is resampled: the picture, told apart from those of other corpora."""
        corpus = hashlib.sha256(np.ascontiguousarray(self.data.image).tobytes()).hexdigest()[:8]
        return np.array([f"{corpus}/{image}" for image in self.data.image_of])

    @cached_property
    def _ranks(self) -> dict[str, tuple[RetrievalRanks, RetrievalRanks]]:
        data = self.data
        return {
            branch: rank_embeddings(speech, data.image, data.image_of, data.images)
            for branch, speech in data.branches.items()
        }

    @cached_property
    def _keyword_values(self) -> dict[str, np.ndarray]:
        values = score_keywords(self.data.keywords, load_token_texts()).values
        position = {u.utterance: row for row, u in enumerate(self.data.keywords)}
        order = [position[utterance] for utterance in self.data.utterances]
        return {name: column[order] for name, column in values.items()}

    def value(self, measure: Measure) -> float | None:
        """The measure over the set."""
        return look_up(self.scores, measure.path)

    def values(self, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
        """The measure query by query, and each query's unit of resampling."""
        if measure.path[0] == "keywords":
            return self._keyword_values[measure.path[1]], self.units
        branch, direction, recall = measure.path
        forth, back = self._ranks[branch]
        k = int(recall.removeprefix("recall@"))
        if direction == "speech_to_image":
            return (forth.rank <= k).astype(float), self.units
        unit_of = dict(zip(self.data.image_of, self.units, strict=True))
        return (back.rank <= k).astype(float), np.array([unit_of[i] for i in self.data.images])


@dataclass(frozen=True)
class Comparison:
    """Two systems in one measure, over the seeds that both have.

    Attributes:
        first: A system.
        second: Another one.
        measure: What is compared.
        seeds: The seeds.
        differences: First less second, by seed.
        interval: 95 % bootstrap interval of the mean difference, over pictures.
        p_images: Two-sided sign-flip test over pictures, the seeds' differences of a picture added:
            could other pictures have turned the result?
        p_seeds: Two-sided paired t-test over the seeds: could other trainings have? NaN for one
            seed, which cannot tell.
    """

    first: str
    second: str
    measure: Measure
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    interval: Interval
    p_images: float
    p_seeds: float


def read_runs(path: str | Path) -> list[Run]:
    """Reads a list of runs: system, seed and scores.json, separated by tabs.

    Paths are relative to the current directory.

    Raises:
        ValueError: A line is malformed, or a run occurs twice.
    """
    runs: list[Run] = []
    for number, line in text_lines(path):
        fields = line.split("\t")
        if not line.strip():
            continue
        if len(fields) != 3 or not fields[1].isdigit():
            raise ValueError(f"{path}:{number}: expected system, seed and scores.json by tabs")
        run = Run(fields[0], int(fields[1]), Path(fields[2]))
        if any((other.system, other.seed) == (run.system, run.seed) for other in runs):
            raise ValueError(f"{path}:{number}: {run.system} with seed {run.seed} occurs twice")
        runs.append(run)
    if not runs:
        raise ValueError(f"{path} lists no run")
    return runs


def compare(
    runs: Sequence[Run], first: str, second: str, measures: Sequence[Measure]
) -> list[Comparison]:
    """Compares two systems in all measures that both have."""
    ours = {run.seed: run for run in runs if run.system == first}
    theirs = {run.seed: run for run in runs if run.system == second}
    seeds = sorted(set(ours) & set(theirs))
    found = []
    for measure in measures:
        pairs = [(ours[seed], theirs[seed]) for seed in seeds]
        if pairs and all(run.value(measure) is not None for pair in pairs for run in pair):
            found.append(_compare(pairs, measure, tuple(seeds)))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number (Holm, 1979)."""
    values = np.asarray(p_values)
    order = np.argsort(values)
    multiplied = np.minimum(1.0, np.arange(len(values), 0, -1) * values[order])
    corrected = np.empty(len(values))
    corrected[order] = np.maximum.accumulate(multiplied)
    return corrected.tolist()


def keyword_counts(run: Run) -> Mapping[str, float]:
    """How the number of keywords follows the speech.

    Returns:
        ``keywords`` and ``subwords`` of an utterance; ``per_second``, the slope of a straight line
        through number against seconds; ``r_seconds`` and ``r_subwords``, Pearson's correlations
        of the number with the length and with the caption's sub-words (NaN when all utterances
        have equally many keywords).
    """
    spoken = run.data.keywords
    number = np.array([len(u.keywords) for u in spoken], dtype=float)
    subwords = np.array([len(u.caption_ids) for u in spoken], dtype=float)
    seconds = np.array([u.seconds for u in spoken])
    varies = seconds.std() > 0
    return {
        "keywords": float(number.mean()),
        "subwords": float(subwords.mean()),
        "per_second": float(np.polyfit(seconds, number, 1)[0]) if varies else math.nan,
        "r_seconds": _correlation(number, seconds),
        "r_subwords": _correlation(number, subwords),
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if first.std() == 0 or second.std() == 0:
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def _compare(
    pairs: Sequence[tuple[Run, Run]], measure: Measure, seeds: tuple[int, ...]
) -> Comparison:
    ours, theirs, units = [], [], []
    for one, other in pairs:
        if (one.data.utterances, one.data.images) != (other.data.utterances, other.data.images):
            raise ValueError(f"{one.path} and {other.path} are not about the same test set")
        values, unit = one.values(measure)
        ours.append(values)
        theirs.append(other.values(measure)[0])
        units.append(unit)
    test = paired_test(np.concatenate(ours), np.concatenate(theirs), np.concatenate(units))
    differences = tuple(one.value(measure) - other.value(measure) for one, other in pairs)
    return Comparison(
        first=pairs[0][0].system,
        second=pairs[0][1].system,
        measure=measure,
        seeds=seeds,
        differences=differences,
        interval=test.interval,
        p_images=test.p_value,
        p_seeds=paired_t_test(differences),
    )


def paired_t_test(differences: Sequence[float]) -> float:
    """Two-sided p-value of a t-test that the differences' mean is 0; NaN for one difference.

    n equal differences other than 0 have no variance, from which a t-test would conclude p = 0. The
    sign test's p stands in its place: all n of one sign have 2^(1 − n), and n cannot show less
    without a variance. n times 0 gives 1.
    """
    if len(differences) < 2:
        return math.nan
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    if deviation < _SAME_RATE:
        return 1.0 if abs(mean) < _SAME_RATE else 2.0 ** (1 - len(differences))
    from scipy.stats import ttest_1samp

    return float(ttest_1samp(differences, 0).pvalue)
