"""Format the recordings of a data directory: in parallel, restartable, counting what is skipped."""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from espnet_plugin.data.audio import Recording, format_recording
from espnet_plugin.data.scp import DataError, read_lines, write_scp
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.progress import progress


@dataclass(frozen=True)
class Item:
    """One utterance's outcome: a recording, or why it is skipped."""

    utterance: str
    source: str
    recording: Recording | None = None
    problem: str | None = None


def target_path(directory: Path, utterance: str, audio_format: str) -> Path:
    """Where a converted recording goes: spread over 256 folders, whatever the number of jobs."""
    folder = f"{zlib.crc32(utterance.encode()) & 0xFF:02x}"
    return directory / "data" / folder / f"{utterance.replace('/', '_')}.{audio_format}"


def format_item(pair: tuple[str, str], *, directory: Path, rate: int, audio_format: str) -> Item:
    """Formats one recording; a bad one becomes an item with a problem instead of an exception."""
    utterance, source = pair
    target = target_path(directory, utterance, audio_format)
    try:
        recording = format_recording(source, target, rate=rate, audio_format=audio_format)
    except DataError as error:
        return Item(utterance, source, problem=str(error))
    return Item(utterance, source, recording)


class Journal:
    """Finished items, a line each, so that a restarted job goes on where it was killed.

    A recording counts as done while its source has the same size and time and the result is there.
    """

    def __init__(self, path: Path, settings: str) -> None:
        self.path = path
        self.settings = settings  # another rate or format makes old entries void

    @staticmethod
    def _stamp(source: str) -> list[int]:
        stat = Path(source).stat()
        return [stat.st_size, stat.st_mtime_ns]

    def add(self, items: Sequence[Item]) -> None:
        """Appends the good items; bad ones are tried again next time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            for item in items:
                if item.recording is None:
                    continue
                row = [self.settings, item.utterance, item.source, self._stamp(item.source)]
                stream.write(json.dumps([*row, vars(item.recording)]) + "\n")

    def read(self, wanted: Mapping[str, str]) -> dict[str, Item]:
        """The valid entries about ``wanted`` (utterance → source) in this folder's journals."""
        done: dict[str, Item] = {}
        for path in sorted(self.path.parent.glob("journal.*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    settings, utterance, source, stamp, fields = json.loads(line)
                except ValueError:
                    continue  # the line during which a job was killed
                if settings != self.settings or wanted.get(utterance) != source:
                    continue
                recording = Recording(**fields)
                if Path(recording.path).is_file() and Path(source).is_file():
                    if self._stamp(source) == stamp:
                        done[utterance] = Item(utterance, source, recording)
        return done


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def format_shard(
    sources: Mapping[str, str],
    output: Path,
    *,
    rate: int,
    audio_format: str,
    processes: int = 1,
    name: str = "1",
) -> list[Item]:
    """Formats one shard of a corpus and writes ``logs/items.<name>.jsonl``.

    Args:
        sources: Utterance → recording.
        output: Directory under which the converted recordings go.
        rate: Sampling rate in Hz.
        audio_format: ``wav`` or ``flac``.
        processes: Processes of this job.
        name: Number of the shard.

    Returns:
        One item per utterance, in the order of ``sources``.
    """
    journal = Journal(output / "logs" / f"journal.{name}.jsonl", f"{rate} {audio_format}")
    done = journal.read(sources)
    if done:
        logging.info(f"{output}: {len(done)} of {len(sources)} recordings were formatted before")
    todo = [pair for pair in sources.items() if pair[0] not in done]
    work = partial(format_item, directory=output, rate=rate, audio_format=audio_format)
    processes = max(1, min(processes, len(todo)))
    with ProcessPoolExecutor(max_workers=processes) as pool:
        results = pool.map(work, todo, chunksize=16) if processes > 1 else map(work, todo)
        shown = progress(
            results, description="recordings formatted", total=len(todo), unit="recording"
        )
        for batch in _batches(iter(shown), 64):
            journal.add(batch)
            done.update((item.utterance, item) for item in batch)
    items = [done[utterance] for utterance in sources]
    rows = []
    for item in items:
        recording = vars(item.recording) if item.recording else None
        rows.append(json.dumps([item.utterance, item.source, recording, item.problem]))
    write_text(output / "logs" / f"items.{name}.jsonl", "".join(row + "\n" for row in rows))
    return items


def read_shard(output: Path, name: str) -> list[Item]:
    """Reads what ``format_shard`` wrote.

    Raises:
        DataError: That job did not finish.
    """
    path = output / "logs" / f"items.{name}.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: missing; job {name} did not finish, start the stage again")
    items = []
    for line in path.read_text(encoding="utf-8").splitlines():
        utterance, source, fields, problem = json.loads(line)
        items.append(Item(utterance, source, Recording(**fields) if fields else None, problem))
    return items


def write_results(items: Sequence[Item], output: Path, *, max_bad: float) -> list[str]:
    """Writes ``wav.scp``, ``utt2num_samples`` and ``skipped.tsv`` of all shards.

    Args:
        items: Of all shards.
        output: The directory to write to.
        max_bad: The share of recordings that may be skipped, 0 to 1.

    Returns:
        A report, one sentence per line.

    Raises:
        DataError: More than that are bad, or all.
    """
    good = [item for item in items if item.recording is not None]
    bad = [item for item in items if item.recording is None]
    rows = "".join(f"{item.utterance}\t{item.source}\t{item.problem}\n" for item in bad)
    write_text(output / "skipped.tsv", f"utterance\tfile\tproblem\n{rows}")
    report = _report(good, bad)
    if not good or len(bad) > max_bad * len(items):
        first = f"; the first: {bad[0].source}: {bad[0].problem}" if bad else ""
        raise DataError(
            f"{output}: {len(bad)} of {len(items)} recordings cannot be used{first}. All are "
            f"listed in {output / 'skipped.tsv'}. Is the corpus complete and its disk mounted? "
            f"Then allow a larger share with --max_bad (now {max_bad})"
        )
    write_scp(output / "wav.scp", {item.utterance: item.recording.path for item in good})
    write_scp(
        output / "utt2num_samples", {item.utterance: item.recording.num_samples for item in good}
    )
    return report


def _report(good: Sequence[Item], bad: Sequence[Item]) -> list[str]:
    kept = sum(item.recording.kept for item in good)
    report = [f"{len(good)} recordings ready, {kept} of them used as they are"]
    rates = Counter(item.recording.resampled_from for item in good)
    report += [f"{n} resampled from {r} Hz" for r, n in sorted(rates.items(), key=str) if r]
    mixed = sum(item.recording.mixed_down for item in good)
    if mixed:
        report.append(f"{mixed} with several channels mixed down to one")
    report += [f"SKIPPED {item.utterance}: {item.source}: {item.problem}" for item in bad[:10]]
    if len(bad) > 10:
        report.append(f"SKIPPED {len(bad) - 10} more, see skipped.tsv")
    return report


def read_sources(wav_scp: Path) -> dict[str, str]:
    """Reads ``wav.scp``; a directory with ``segments`` is refused.

    Raises:
        DataError: There is a ``segments`` file, or nothing in ``wav.scp``.
    """
    if (wav_scp.parent / "segments").exists():
        raise DataError(f"{wav_scp.parent / 'segments'}: not supported; cut the recordings first")
    sources = dict(read_lines(wav_scp))
    if not sources:
        raise DataError(f"{wav_scp}: empty; run the data preparation (stage 1) again")
    return sources
