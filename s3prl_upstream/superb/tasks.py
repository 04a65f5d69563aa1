"""SUPERB's tasks: what runs them, what they score, and what is different here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from s3prl_upstream.superb.small import sequence_tasks, speaker_tasks, utterance_tasks


@dataclass(frozen=True)
class Metric:
    """A number in an evaluation's output.

    Attributes:
        name: As in SUPERB's table.
        pattern: Finds it; its first group is the number. The last match counts.
        is_higher_better: Direction.
        factor: The table's unit, usually percent.
    """

    name: str
    pattern: str
    is_higher_better: bool
    factor: float = 100.0

    def find(self, output: str) -> float | None:
        """The value in the table's unit; None if the output has none."""
        found = re.findall(self.pattern, output)
        return self.factor * float(found[-1]) if found else None


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: SUPERB's abbreviation.
        title: What it is.
        downstream: s3prl's ``-d``.
        config: Our configuration, without ``.yaml``.
        best: Name of the checkpoint that is best on the development set; empty: there is none, and
            the saved checkpoint that is best in the test counts, as in SUPERB's ASV.
        split: ``-t`` of the evaluation.
        metrics: The first one is the task's score.
        small: Writes a small corpus: function of recordings, directory and size.
        workers: Options that say how many processes read data.
        folds: Runs whose mean is the score.
        needs: Packages beyond s3prl's.
        note: How the score differs from SUPERB's.
        trains: False where the upstream is evaluated as it is.
    """

    name: str
    title: str
    downstream: str
    config: str
    best: str
    split: str
    metrics: tuple[Metric, ...]
    small: Callable[..., dict[str, object]]
    workers: str = "config.downstream_expert.datarc.num_workers"
    folds: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    note: str = ""
    trains: bool = True


_NUMBER = r"([-+0-9.e]+)"
_ACCURACY = (Metric("acc", rf"test acc: {_NUMBER}", True),)
_CTC_WORKERS = "config.downstream_expert.corpus.num_workers"

TASKS = {
    task.name: task
    for task in (
        Task(
            "PR",
            "phoneme recognition",
            "ctc",
            "ctc",
            "dev-best.ckpt",
            "test",
            (Metric("PER", rf"test per: {_NUMBER}", False),),
            sequence_tasks.phone_recognition,
            workers=_CTC_WORKERS,
        ),
        Task(
            "ASR",
            "speech recognition",
            "asr",
            "asr",
            "dev-clean-best.ckpt",
            "test-clean",
            (Metric("WER", rf"test-clean wer: {_NUMBER}", False, 1.0),),
            sequence_tasks.speech_recognition,
            needs=("pandas",),
            note="without a language model",
        ),
        Task(
            "KS",
            "keyword spotting",
            "speech_commands",
            "speech_commands",
            "dev-best.ckpt",
            "test",
            _ACCURACY,
            utterance_tasks.speech_commands,
        ),
        Task(
            "IC",
            "intent classification",
            "fluent_commands",
            "fluent_commands",
            "dev-best.ckpt",
            "test",
            _ACCURACY,
            utterance_tasks.fluent_commands,
            needs=("pandas",),
        ),
        Task(
            "SID",
            "speaker identification",
            "voxceleb1",
            "voxceleb1",
            "dev-best.ckpt",
            "test",
            _ACCURACY,
            utterance_tasks.voxceleb1,
            needs=("librosa",),
        ),
        Task(
            "ASV",
            "speaker verification",
            "sv_voxceleb1",
            "sv_voxceleb1",
            "",
            "test",
            (Metric("EER", rf"test-EER: {_NUMBER}", False),),
            speaker_tasks.speaker_verification,
            needs=("librosa", "joblib", "sklearn"),
            note="silences are cut by our rule, not by sox",
        ),
        Task(
            "SD",
            "diarization",
            "diarization",
            "diarization",
            "best-states-dev.ckpt",
            "test",
            (Metric("DER", rf"mode test acc \S+ der {_NUMBER}", False),),
            speaker_tasks.diarization,
            workers="config.downstream_expert.loaderrc.num_workers",
            needs=("pandas", "h5py"),
            note="frame-wise; SUPERB scores the predictions with dscore",
        ),
        Task(
            "ER",
            "emotion recognition",
            "emotion",
            "emotion",
            "dev-best.ckpt",
            "test",
            _ACCURACY,
            utterance_tasks.emotion,
            folds=("fold1", "fold2", "fold3", "fold4", "fold5"),
        ),
        Task(
            "SF",
            "slot filling",
            "ctc",
            "ctc_snips",
            "dev-best.ckpt",
            "test",
            (
                Metric("F1", rf"test slot_type_f1: {_NUMBER}", True),
                Metric("CER", rf"test slot_value_cer: {_NUMBER}", False),
            ),
            sequence_tasks.slot_filling,
            workers=_CTC_WORKERS,
        ),
        Task(
            "QbE",
            "query by example",
            "quesst14_dtw",
            "quesst14_dtw",
            "",
            "dev",
            (),
            speaker_tasks.query_by_example,
            needs=("dtw", "lxml"),
            note="scores are written; the corpus's own tool makes MTWV of them",
            trains=False,
        ),
    )
}
