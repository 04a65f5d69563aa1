"""Trained and scored models, and their measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from espnet_plugin.data.datadir import RECORDINGS
from espnet_plugin.data.inference_set import InferenceSet, read_inference_set
from espnet_plugin.data.scp import read_scp, text_lines
from espnet_plugin.evaluation.keyword_rates import keyword_values
from espnet_plugin.evaluation.measures import BOUNDARY_F, DIRECTIONS, KEYWORDS, PLACES
from espnet_plugin.evaluation.scores.experiment import read_scores
from espnet_plugin.evaluation.scores.keyword_scores import BOUNDARY_SCORES
from espnet_plugin.evaluation.scores.retrieval import Ranks, rank_set, recordings_of_queries
from espnet_plugin.evaluation.statistics import RecordingNames
from espnet_plugin.evaluation.token_texts import clip_tokenizer
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.small_files import look_up

BRANCH_KEYS = {"cascaded": "keywords", "parallel": "utterance", "fusion": "both"}
MEASURES: dict[str, tuple[str, ...]] = {  # key in study.json: where scores.json has the measure
    **{
        f"{found} {first} ({name})": (branch, direction, place)
        for branch, name in BRANCH_KEYS.items()
        for found, direction in (("image", "speech_to_image"), ("speech", "image_to_speech"))
        for first, place in (("first", "recall@1"), ("among ten", "recall@10"))
    },
    "words found": ("keywords", "content_word_recall"),
    "words right": ("keywords", "content_word_hit@1"),
    "repeats": ("keywords", "duplicate_rate"),
    "all words right": ("keywords", "content_words_exact"),
    "precision": ("keywords", "precision"),
    "sub-word hit@1": ("keywords", "subword_hit@1"),
    "sub-word hit@5": ("keywords", "subword_hit@5"),
    BOUNDARY_F: ("keywords", "boundaries", "f_score"),
}
TRAINING_CPU = "training CPU, s"
LOWER_IS_BETTER = {"repeats"}


def title_of(measure: str) -> str:
    """What tables call a measure of ``study.json``."""
    branch, name, *place = MEASURES.get(measure, (measure, ""))
    if name in DIRECTIONS:
        return f"{PLACES[place[0]]} ({DIRECTIONS[name]}), {branch}"
    return KEYWORDS.get(name, (measure,))[0]


@dataclass
class Run:
    """One trained model of a system, e.g. ``hybrid_plus``, by the path of its scores.json.

    Runs of two systems are paired by the seed of their trainings.
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
        """The embeddings of the run.

        Raises:
            DataError: If its utterances shared recordings, and it is not known any more which.
        """
        if "recordings" in self.scores and not (self.directory / RECORDINGS).exists():
            raise DataError(
                f"{self.directory} lacks {RECORDINGS}, as in outputs of before stage 8 wrote it, "
                "but the utterances share recordings; run stages 8 and 9 again"
            )
        return read_inference_set(self.directory)

    @cached_property
    def numbers(self) -> dict[str, float]:
        """Each measure over the set that the model has, and the seconds that training cost."""
        places = {**MEASURES, TRAINING_CPU: ("training_cpu_seconds",)}
        found = {name: look_up(self.scores, path) for name, path in places.items()}
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def _ranks(self) -> Ranks:
        weight = look_up(self.scores, ("fusion", "weight_of_parallel"))
        return rank_set(self.data, fusion_weight=weight)

    @cached_property
    def _keyword_values(self) -> dict[str, np.ndarray]:
        by_name = {spoken.utterance: spoken for spoken in self.data.captioned_keywords}
        values = keyword_values(
            [by_name[name] for name in self.data.utterances], clip_tokenizer().decoder
        )
        if (self.directory / BOUNDARY_SCORES).exists():
            scored = read_scp(self.directory / BOUNDARY_SCORES)
            values["boundaries"] = np.array([float(scored[name]) for name in self.data.utterances])
        return values

    def values(self, measure: str) -> tuple[np.ndarray, Sequence[str], RecordingNames | None]:
        """A measure query by query, with each query's image and recordings if any are shared."""
        branch, name, *place = MEASURES[measure]
        if branch == "keywords":
            recordings = self.data.recordings_of(self.data.utterances)
            return self._keyword_values[name], self.data.image_of, recordings
        ranks = self._ranks[branch][name]
        hits = ranks.rank <= int(place[0].rpartition("@")[2])
        recordings = recordings_of_queries(self.data, name)
        return hits.astype(float), ranks.ids, recordings


def read_runs(path: str | Path) -> list[Run]:
    """Reads a list of runs on one corpus: system, seed and scores.json, separated by tabs.

    Paths are relative to the current directory.

    Raises:
        ValueError: If a line is malformed, a run occurs twice, or there is none.
    """
    runs: dict[tuple[str, str], Run] = {}
    for number, line in text_lines(path):
        fields = line.split("\t")
        if len(fields) != 3 or not all(fields):
            raise ValueError(f"{path}:{number}: expected system, seed and scores.json by tabs")
        system, seed, scores = fields
        if (system, seed) in runs:
            raise ValueError(f"{path}:{number}: {system} with seed {seed} occurs twice")
        runs[system, seed] = Run(system, seed, Path(scores))
    if not runs:
        raise ValueError(f"{path} lists no run")
    return list(runs.values())
