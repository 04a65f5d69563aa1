"""Trained and evaluated models, and their measures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.data.scp import read_scp, text_lines
from espnet_plugin.evaluation.keyword_rates import keyword_values
from espnet_plugin.evaluation.retrieval import RetrievalRanks, rank_embeddings
from espnet_plugin.evaluation.scores.experiment import read_scores
from espnet_plugin.evaluation.scores.files import look_up
from espnet_plugin.evaluation.scores.keyword_scores import BOUNDARY_SCORES
from espnet_plugin.evaluation.scores.retrieval import speech_embeddings
from espnet_plugin.evaluation.token_texts import clip_tokenizer


@dataclass(frozen=True)
class Measure:
    """A measure by which systems are compared.

    Attributes:
        name: Name of the measure in tables.
        path: Keys of the measure in scores.json: branch, direction and ``recall@k``, or
            ``keywords`` and the rate.
        higher_is_better: Whether a higher number is better.
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
FUSED_RECALLS = _recalls("fusion")
TEACHER_RECALL = Measure("teacher R@10", ("teacher", "text_to_image", "recall@10"))
KEYWORD_MEASURES = (
    Measure("sub-word hit@1", ("keywords", "subword_hit@1")),
    Measure("sub-word hit@5", ("keywords", "subword_hit@5")),
    Measure("content hit@1", ("keywords", "content_word_hit@1")),
    Measure("content recall", ("keywords", "content_word_recall")),
    Measure("precision", ("keywords", "precision")),
    Measure("duplicates", ("keywords", "duplicate_rate"), higher_is_better=False),
)
BOUNDARY_F = Measure("boundary F", ("keywords", "boundaries", "f_score"))  # within 50 ms
BOUNDARIES = (BOUNDARY_F, Measure("boundary F, 20 ms", ("keywords", "boundaries_20ms", "f_score")))
TRAINING_CPU = "training_cpu_seconds"


@dataclass
class Run:
    """One trained and evaluated model.

    Attributes:
        system: Name of its system, e.g. ``hybrid_plus``.
        seed: Seed of its training, with that of its corpus if a sweep has several. Runs of two
            systems are paired by it.
        path: Path of its scores.json.
    """

    system: str
    seed: str
    path: Path

    @cached_property
    def scores(self) -> dict:
        """Content of scores.json."""
        return read_scores(self.path)

    @property
    def directory(self) -> Path:
        """The test set's inference directory."""
        return self.path.parent / self.scores["test_set"]

    @cached_property
    def data(self) -> InferenceSet:
        """The embeddings of the run."""
        return read_inference_set(self.directory)

    @cached_property
    def units(self) -> np.ndarray:
        """Units of resampling, (utterances,): the image of each utterance, with its corpus."""
        corpus = hashlib.sha256(np.ascontiguousarray(self.data.image).tobytes()).hexdigest()[:8]
        return np.array([f"{corpus}/{image}" for image in self.data.image_of])

    @cached_property
    def _ranks(self) -> dict[str, tuple[RetrievalRanks, RetrievalRanks]]:
        data = self.data
        weight = look_up(self.scores, ("fusion", "weight_of_parallel"))
        return {
            system: rank_embeddings(speech, data.image, data.image_of, data.images)
            for system, speech in speech_embeddings(data, weight).items()
        }

    @cached_property
    def _keyword_values(self) -> dict[str, np.ndarray]:
        values = keyword_values(self.data.captioned_keywords, clip_tokenizer().decoder)
        if (self.directory / BOUNDARY_SCORES).exists():
            scored = read_scp(self.directory / BOUNDARY_SCORES)
            values["boundaries"] = np.array(
                [float(scored[u.utterance]) for u in self.data.captioned_keywords]
            )
        position = {u.utterance: row for row, u in enumerate(self.data.captioned_keywords)}
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


def read_runs(path: str | Path) -> list[Run]:
    """Reads a list of runs: system, seed and scores.json, separated by tabs.

    Paths are relative to the current directory.

    Raises:
        ValueError: If a line is malformed, or a run occurs twice.
    """
    runs: list[Run] = []
    for number, line in text_lines(path):
        fields = line.split("\t")
        if not line.strip():
            continue
        if len(fields) != 3 or not all(fields):
            raise ValueError(f"{path}:{number}: expected system, seed and scores.json by tabs")
        run = Run(fields[0], fields[1], Path(fields[2]))
        if any((other.system, other.seed) == (run.system, run.seed) for other in runs):
            raise ValueError(f"{path}:{number}: {run.system} with seed {run.seed} occurs twice")
        runs.append(run)
    if not runs:
        raise ValueError(f"{path} lists no run")
    return runs


def seed_place(seed: str) -> tuple[int, str]:
    """Key to sort seeds by, as numbers if they are."""
    return len(seed), seed
