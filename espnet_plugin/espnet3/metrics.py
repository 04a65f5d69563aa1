"""Metrics of ESPnet3 with the functions of the recipe's stage 9."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from espnet3.components.metrics.base_metric import BaseMetric
from espnet3.contract import Field

from espnet_plugin.data.alignments import WORDS_CTM
from espnet_plugin.evaluation.scores.keywords import score_keywords_directory
from espnet_plugin.evaluation.scores.retrieval import score_retrieval_directory

RECALL_AT = (1, 5, 10)
DIRECTIONS = ("speech_to_image", "image_to_speech")


class _SetMetric(BaseMetric):
    """A metric of a whole set's directory, because retrieval needs the whole set."""

    directory: Path

    def __call__(
        self, data: dict[str, Path], test_name: str, output_dir: Path | None = None
    ) -> dict[str, float]:
        if output_dir is None:
            raise ValueError("output_dir is missing: these metrics need an inference directory")
        self.directory = Path(output_dir) / test_name
        return super().__call__(data, test_name, output_dir)


class Retrieval(_SetMetric):
    """Recall@1, 5 and 10, as a mean over branches and directions.

    ``<set>/scoring/retrieval.json`` gets all scores, with intervals.

    Args:
        dev_set: Set in the same folder, which selects the weight of the branches' sum.
    """

    inputs = (Field("image", "text"),)
    outputs = tuple(Field(f"recall_mean_at_{k}", "number") for k in RECALL_AT)

    def __init__(self, *, dev_set: str | None = None) -> None:
        self.dev_set = dev_set
        super().__init__()

    def update(self, *, image: Sequence[str]) -> None:
        """Does nothing."""

    def compute(self) -> dict[str, float]:
        """Scores the directory."""
        dev = self.directory.parent / self.dev_set if self.dev_set else None
        scores = score_retrieval_directory(
            self.directory,
            dev_directory=dev if dev is not None and dev.is_dir() else None,
            recall_at=RECALL_AT,
        )
        branches = [scores[name] for name in ("parallel", "cascaded") if name in scores]
        return {
            f"recall_mean_at_{k}": float(
                np.mean([b[direction][f"recall@{k}"] for b in branches for direction in DIRECTIONS])
            )
            for k in RECALL_AT
        }


class Keywords(_SetMetric):
    """Share of the keywords, and of the content words among them, that are in the caption.

    ``<set>/scoring/keywords.json`` gets all scores.

    Args:
        data_dir: Folder of the sets' data directories; their ``words.ctm`` has the words' times.
    """

    inputs = (Field("keywords", "text"),)
    outputs = (Field("word_hit_at_1", "number"), Field("content_word_hit_at_1", "number"))

    def __init__(self, *, data_dir: str | Path) -> None:
        self.data_dir = Path(data_dir)
        super().__init__()

    def update(self, *, keywords: Sequence[str]) -> None:
        """Does nothing."""

    def compute(self) -> dict[str, float]:
        """Scores the directory."""
        words = self.data_dir / self.directory.name / WORDS_CTM
        scores: dict[str, Any] = score_keywords_directory(
            self.directory, words_ctm=words if words.exists() else None
        )
        found = {f.name: scores[f.name.replace("_at_", "@")] for f in self.outputs}
        # without keywords there is no share, but ESPnet3 needs a number
        return {name: float("nan") if value is None else value for name, value in found.items()}
