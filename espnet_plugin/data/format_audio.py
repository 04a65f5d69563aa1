"""Bring the recordings of a data directory to one rate, one channel and one format.

Several processes do so in parallel, and a stopped job can be restarted.
"""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from espnet_plugin.data.manifest import Manifest
from espnet_plugin.data.record import make_record
from espnet_plugin.data.scp import file_stem, part_of, read_scp, write_scp
from espnet_plugin.media.formats import FormattedRecording, format_recording
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import Stamp, stamp
from espnet_plugin.utils.progress import counted, progress

Outcome = FormattedRecording | str  # the recording, or why it is skipped


def read_sources(wav_scp: Path, part: tuple[int, int] | None = None) -> dict[str, str]:
    """Reads the recording of each utterance, of a part or of all.

    Raises:
        DataError: If there is a ``segments`` file, or ``wav.scp`` is empty.
    """
    if (wav_scp.parent / "segments").exists():
        raise DataError(f"{wav_scp.parent / 'segments'}: not supported; cut the recordings first")
    sources = read_scp(wav_scp)
    if not sources:
        raise DataError(f"{wav_scp}: empty; run the data preparation (stage 1) again")
    return part_of(sources, part)


def format_item(
    pair: tuple[str, str], *, directory: Path, rate: int, audio_format: str
) -> tuple[Stamp, Outcome]:
    """Formats one recording, in one of 256 folders; returns its source's stamp from before, too."""
    utterance, source = pair
    folder = directory / "data" / f"{zlib.crc32(utterance.encode()) & 0xFF:02x}"
    target = folder / f"{file_stem(utterance)}.{audio_format}"
    before = stamp(source)
    try:
        return before, format_recording(source, target, rate=rate, audio_format=audio_format)
    except DataError as error:
        return before, str(error)


def format_recordings(
    sources: Mapping[str, str],
    output: Path,
    *,
    rate: int,
    audio_format: str,
    processes: int = 1,
    job: str = "1",
) -> dict[str, Outcome]:
    """Formats the recordings that are not ready yet, and notes each outcome immediately.

    Args:
        sources: Recording of each utterance.
        output: Directory under which the converted recordings and the manifest go.
        rate: Wanted sampling rate in Hz.
        audio_format: Format of converted recordings, ``wav`` or ``flac``.
        processes: Number of processes of this job.
        job: Number of this job; each has a manifest of its own.
    """
    outcomes = finished(sources, output, rate=rate, audio_format=audio_format)
    todo = {
        utterance: source
        for utterance, source in sources.items()
        if not isinstance(outcomes.get(utterance), FormattedRecording)
    }
    if len(todo) < len(sources):
        done = len(sources) - len(todo)
        logging.info(f"{output}: {done} of {counted(len(sources), 'recording')} formatted before")
    work = partial(format_item, directory=output, rate=rate, audio_format=audio_format)
    with ExitStack() as stack:
        manifest = stack.enter_context(_manifest(output, rate, audio_format, job))
        if processes > 1:
            pool = stack.enter_context(ProcessPoolExecutor(max_workers=processes))
            # closed first, so an error does not wait for the rest of the pool's work
            fresh = stack.enter_context(closing(pool.map(work, todo.items(), chunksize=16)))
        else:
            fresh = map(work, todo.items())
        shown = progress(
            fresh, description="recordings formatted", total=len(todo), unit="recording"
        )
        for (utterance, source), (before, outcome) in zip(todo.items(), shown, strict=True):
            if isinstance(outcome, str):
                manifest.add(utterance, source, before, result=None, facts=outcome)
            else:
                manifest.add(utterance, source, before, result=outcome.path, facts=vars(outcome))
            outcomes[utterance] = outcome
    return outcomes


def finished(
    sources: Mapping[str, str], output: Path, *, rate: int, audio_format: str
) -> dict[str, Outcome]:
    """Outcomes of the recordings that have not changed since a job formatted them."""
    return {
        utterance: _recording(note.result, note.facts) if note.result else note.facts
        for utterance, note in _manifest(output, rate, audio_format).current(sources).items()
    }


def _recording(path: str, facts: Mapping[str, Any]) -> FormattedRecording:
    # notes of earlier versions have no changes
    return FormattedRecording(path, facts["num_samples"], tuple(facts.get("changes", ())))


def _manifest(output: Path, rate: int, audio_format: str, job: str = "1") -> Manifest:
    options = {"rate": rate, "audio_format": audio_format}
    return Manifest(output, maker=make_record("recordings", options), job=job)


def write_results(
    sources: Mapping[str, str], outcomes: Mapping[str, Outcome], output: Path, *, max_bad: float
) -> list[str]:
    """Writes ``wav.scp``, ``utt2num_samples`` and ``skipped.tsv``.

    Args:
        sources: Recording of each utterance.
        outcomes: Outcome of each utterance.
        output: Directory to write to.
        max_bad: Share of recordings that may be skipped, 0 to 1.

    Returns:
        A report, one sentence per line.

    Raises:
        DataError: If a recording has no outcome, or too many are bad.
    """
    absent = [utterance for utterance in sources if utterance not in outcomes]
    if absent:
        raise DataError(
            f"{output}: {counted(len(absent), 'recording')} not formatted, the first is "
            f"{absent[0]}; a job did not finish, start the stage again"
        )
    ready: dict[str, FormattedRecording] = {}
    skipped: list[str] = []
    for utterance, source in sorted(sources.items()):
        outcome = outcomes[utterance]
        if isinstance(outcome, str):
            skipped.append(f"{utterance}\t{source}\t{outcome}\n")
        else:
            ready[utterance] = outcome
    write_text(output / "skipped.tsv", "".join(["utterance\tfile\tproblem\n", *skipped]))
    examples = [": ".join(row.rstrip("\n").split("\t")) for row in skipped[:10]]
    if not ready or len(skipped) > max_bad * len(sources):
        first = f"; the first: {examples[0]}" if examples else ""
        raise DataError(
            f"{output}: recordings that cannot be used: {len(skipped)} of {len(sources)}{first}. "
            f"All are listed in {output / 'skipped.tsv'}. Is the corpus complete and its disk "
            f"mounted? If so, allow a larger share with --max_bad (now {max_bad})"
        )
    write_scp(output / "wav.scp", {utt: recording.path for utt, recording in ready.items()})
    write_scp(
        output / "utt2num_samples", {utt: recording.num_samples for utt, recording in ready.items()}
    )
    changes = Counter(change for recording in ready.values() for change in recording.changes)
    report = [f"{counted(len(ready), 'recording')} ready"]
    report += [f"{count} {change}" for change, count in sorted(changes.items())]
    report += [f"SKIPPED {example}" for example in examples]
    if len(skipped) > len(examples):
        report.append(f"SKIPPED {len(skipped) - len(examples)} more, see {output / 'skipped.tsv'}")
    return report
