"""SUPERB's tasks: what runs them, their scores, and how these differ from the benchmark's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from s3prl_upstream.superb.conf import CONF, EXPERT


@dataclass(frozen=True)
class Metric:
    """A number in an evaluation's output.

    Attributes:
        name: Name of the metric in SUPERB's table.
        pattern: Pattern that finds it; its first group is the number. The last match counts.
        is_higher_better: Whether a higher number is better.
        factor: Factor that gives the table's unit, usually percent.
    """

    name: str
    pattern: str
    is_higher_better: bool
    factor: float = 100.0

    def find(self, output: str) -> float | None:
        """The score in the table's unit, or None if the output has none."""
        found = re.findall(self.pattern, output)
        return self.factor * float(found[-1]) if found else None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of SUPERB.

    Attributes:
        name: SUPERB's abbreviation.
        downstream: Value of s3prl's ``-d``.
        config: Name of our configuration, without ``.yaml``; by default that of ``downstream``.
        best: Name of the checkpoint that is best on the development set. If it is empty, there is
            none, and the best saved checkpoint on the test set counts, as in SUPERB's ASV.
        split: Value of ``-t`` for the evaluation.
        metrics: Metrics to read; the first one is the task's score.
        workers: Name of the option for the number of processes that read data.
        folds: Names of the runs whose mean is the score.
        note: How the score differs from SUPERB's.
        trains: Whether the upstream is trained before it is evaluated.
    """

    name: str
    downstream: str
    metrics: tuple[Metric, ...]
    config: str | None = None
    best: str = "dev-best.ckpt"
    split: str = "test"
    workers: str = f"{EXPERT}.datarc.num_workers"
    folds: tuple[str, ...] = ()
    note: str = ""
    trains: bool = True

    @property
    def config_file(self) -> Path:
        """Our configuration of s3prl's runner."""
        return CONF / f"{self.config or self.downstream}.yaml"


_NUMBER = r"([-+0-9.e]+)"
_ACCURACY = (Metric("acc", rf"test acc: {_NUMBER}", is_higher_better=True),)
_CTC_WORKERS = f"{EXPERT}.corpus.num_workers"

_TASKS = (
    Task(
        name="PR",
        downstream="ctc",
        metrics=(Metric("PER", rf"test per: {_NUMBER}", is_higher_better=False),),
        workers=_CTC_WORKERS,
    ),
    Task(
        name="ASR",
        downstream="asr",
        metrics=(Metric("WER", rf"test-clean wer: {_NUMBER}", is_higher_better=False, factor=1.0),),
        best="dev-clean-best.ckpt",
        split="test-clean",
        note="without a language model",
    ),
    Task(name="KS", downstream="speech_commands", metrics=_ACCURACY),
    Task(name="IC", downstream="fluent_commands", metrics=_ACCURACY),
    Task(name="SID", downstream="voxceleb1", metrics=_ACCURACY),
    Task(
        name="ASV",
        downstream="sv_voxceleb1",
        metrics=(Metric("EER", rf"test-EER: {_NUMBER}", is_higher_better=False),),
        best="",
        note="our own rule trims silence instead of sox",
    ),
    Task(
        name="SD",
        downstream="diarization",
        metrics=(Metric("DER", rf"mode test acc \S+ der {_NUMBER}", is_higher_better=False),),
        best="best-states-dev.ckpt",
        workers=f"{EXPERT}.loaderrc.num_workers",
        note="frame-wise; SUPERB scores the predictions with dscore",
    ),
    Task(
        name="ER",
        downstream="emotion",
        metrics=_ACCURACY,
        folds=("fold1", "fold2", "fold3", "fold4", "fold5"),
    ),
    Task(
        name="SF",
        downstream="ctc",
        config="ctc_snips",
        metrics=(
            Metric("F1", rf"test slot_type_f1: {_NUMBER}", is_higher_better=True),
            Metric("CER", rf"test slot_value_cer: {_NUMBER}", is_higher_better=False),
        ),
        workers=_CTC_WORKERS,
    ),
    Task(
        name="QbE",
        downstream="quesst14_dtw",
        metrics=(),
        split="dev",
        note="it writes scores; the corpus's own tool turns them into MTWV",
        trains=False,
    ),
)
TASKS = {task.name: task for task in _TASKS}
