"""Bring the recordings of a data directory to one form, and leave out what cannot be used.

Several processes do so in parallel, and a stopped job can be restarted.
"""

from __future__ import annotations

import logging
import zlib
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from espnet_plugin.data.manifest import Manifest
from espnet_plugin.data.record import make_record
from espnet_plugin.data.scp import file_stem, part_of, read_scp, write_scp
from espnet_plugin.data.skipped import LIST, Skipped, read_skipped, require_few, write_skipped
from espnet_plugin.media.formats import FormattedRecording, format_recording
from espnet_plugin.media.images import bad_images
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.hashing import Stamp, stamp
from espnet_plugin.utils.progress import counted, progress

Outcome = FormattedRecording | str  # the recording, or why it is skipped
_SHOWN = 10  # of those that are skipped, in a report


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


def write_usable(
    source: Path,
    output: Path,
    outcomes: Mapping[str, Outcome],
    *,
    rate: int,
    max_bad: float,
    processes: int = 1,
) -> list[str]:
    """Writes what can be used of a data directory, and ``skipped.tsv`` with all that cannot.

    These are ``wav.scp``, ``utt2num_samples`` and, if there are images, ``image.scp``. The list
    ends with what the preparation of the data directory left out.

    Args:
        source: The data directory.
        output: Directory to write to.
        outcomes: Outcome of each recording.
        rate: Sampling rate of the outcomes in Hz.
        max_bad: Share of the utterances that may be skipped, see :func:`require_few`.
        processes: Number of processes that look at images.

    Returns:
        A report, one sentence per line.

    Raises:
        DataError: If a recording has no outcome, or too many are skipped.
    """
    recordings = read_scp(source / "wav.scp")
    absent = [utterance for utterance in recordings if utterance not in outcomes]
    if absent:
        raise DataError(
            f"{output}: {counted(len(absent), 'recording')} not formatted, the first is "
            f"{absent[0]}; a job did not finish, start the stage again"
        )
    tables = [source / name for name in ("image.scp", "utt2image")]
    images, image_of = (read_scp(path) if path.is_file() else {} for path in tables)
    bad_image = bad_images(images, jobs=processes)
    ready: dict[str, FormattedRecording] = {}
    found: list[Skipped] = []
    for utterance, recording in sorted(recordings.items()):
        outcome, image = outcomes[utterance], image_of.get(utterance, "")
        if isinstance(outcome, str):
            found.append(Skipped(utterance, recording, outcome))
        elif image in bad_image:
            found.append(Skipped(utterance, images[image], bad_image[image]))
        else:
            ready[utterance] = outcome
    write_skipped(output, found + read_skipped(source))
    skipped = require_few(output, kept=len(ready), max_bad=max_bad)
    lengths = {utterance: recording.num_samples for utterance, recording in ready.items()}
    write_scp(output / "utt2num_samples", lengths)
    write_scp(output / "wav.scp", {utt: recording.path for utt, recording in ready.items()})
    seconds = [length / rate for length in lengths.values()]
    report = [
        f"{counted(len(ready), 'recording')} ready: {sum(seconds) / 3600:.2f} h, "
        f"{min(seconds):.2f} to {max(seconds):.2f} s long"
    ]
    changes: dict[str, list[str]] = defaultdict(list)
    for utterance, recording in ready.items():
        for change in recording.changes:
            changes[change].append(recordings[utterance])
    for change, files in sorted(changes.items()):
        report.append(f"{len(files)} {change}, such as {files[0]}")
    if images:
        good = {image: file for image, file in images.items() if image not in bad_image}
        write_scp(output / "image.scp", good)
        report.append(f"{len(good)} of {counted(len(images), 'image')} can be read")
    report += [f"SKIPPED {': '.join(row)}" for row in skipped[:_SHOWN]]
    if skipped:
        report.append(f"skipped: {counted(len(skipped), 'utterance')}, listed in {output / LIST}")
    return report
