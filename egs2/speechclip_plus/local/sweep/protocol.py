"""The comparisons and targets declared before the runs of a new recipe; see docs/protocol.md."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .runs import (
    BOUNDARY_F,
    CASCADED_RECALLS,
    FUSED_RECALLS,
    KEYWORD_MEASURES,
    PARALLEL_RECALLS,
    Measure,
)

BASELINES = ("hybrid_plus", "hybrid")
ALPHA = 0.01  # in both tests, after Holm's correction over everything declared
MOST_CPU = 1.25  # of training, times the first baseline's

_BY_NAME = {measure.path[1]: measure for measure in KEYWORD_MEASURES}
_CONTENT_RECALL, _CONTENT_HIT = _BY_NAME["content_word_recall"], _BY_NAME["content_word_hit@1"]
_DUPLICATES = _BY_NAME["duplicate_rate"]

MEASURES: tuple[Measure, ...] = (
    *CASCADED_RECALLS,
    PARALLEL_RECALLS[0],
    FUSED_RECALLS[0],
    _CONTENT_RECALL,
    _CONTENT_HIT,
    _DUPLICATES,
    BOUNDARY_F,
)


@dataclass(frozen=True)
class Target:
    """What the mean over the trainings should reach.

    Attributes:
        measures: Measures; it is enough if one of them reaches the bound.
        bound: Lowest number that reaches it, or the highest where lower is better.
    """

    measures: tuple[Measure, ...]
    bound: float


_MINI_TARGETS = (
    Target((CASCADED_RECALLS[0],), 0.70),
    Target((_CONTENT_RECALL,), 0.80),
    Target((_CONTENT_HIT,), 0.84),
    Target((_DUPLICATES,), 0.12),
    Target((PARALLEL_RECALLS[0], FUSED_RECALLS[0]), 0.84),
    Target((BOUNDARY_F,), 0.45),
)
# set → trainings of one corpus that they were declared for, and the targets
TARGETS: dict[str, tuple[int, tuple[Target, ...]]] = {
    "mini_test": (10, _MINI_TARGETS),
    "mini_dev": (10, _MINI_TARGETS),
    "digits_test": (
        5,
        (
            Target((_CONTENT_RECALL,), 0.95),
            Target((_CONTENT_HIT,), 0.97),
            Target((_DUPLICATES,), 0.08),
        ),
    ),
    "digits_strangers": (5, (Target((_CONTENT_RECALL,), 0.92),)),
    "mini_babel_test_sw": (
        3,
        (Target((_CONTENT_RECALL,), 0.95), Target((_CONTENT_HIT,), 0.85)),
    ),
}


def declared_targets(test_set: str, seeds: Collection[str]) -> tuple[Target, ...]:
    """The targets that were declared for runs of these seeds on a set; none for most."""
    trainings, targets = TARGETS.get(test_set, (1, ()))
    one_corpus = not any("/" in seed for seed in seeds)
    return targets if one_corpus and len(seeds) >= trainings else ()
