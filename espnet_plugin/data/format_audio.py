"""Format the recordings of a data directory: in parallel, restartable, counting what is skipped."""

from __future__ import annotations

import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from espnet_plugin.data.audio import Recording, format_recording
from espnet_plugin.data.format_journal import Item, Journal, with_journal
from espnet_plugin.data.scp import DataError, read_lines
from espnet_plugin.data.sorted_tables import in_order, side_by_side, sort_file
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.progress import progress

_BLOCK = 2048  # recordings that are in memory at a time


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


def format_shard(
    sources: Iterator[tuple[str, str]],
    output: Path,
    *,
    rate: int,
    audio_format: str,
    processes: int = 1,
    name: str = "1",
    total: int | None = None,
) -> None:
    """Formats one shard of a corpus and writes ``logs/items.<name>.jsonl``, a few at a time.

    Args:
        sources: Utterance and recording, sorted by utterance.
        output: Directory under which the converted recordings go.
        rate: Sampling rate in Hz.
        audio_format: ``wav`` or ``flac``.
        processes: Processes of this job.
        name: Number of the shard.
        total: Number of recordings, for the progress bar.
    """
    journal = Journal(output / "logs" / f"journal.{name}.jsonl", f"{rate} {audio_format}")
    work = partial(format_item, directory=output, rate=rate, audio_format=audio_format)
    before = count = 0
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(max_workers=max(1, processes)))
        entries = stack.enter_context(journal.sorted_copy())
        place = stack.enter_context(atomic_path(output / "logs" / f"items.{name}.jsonl"))
        stream = stack.enter_context(place.open("w", encoding="utf-8"))
        rows = with_journal(sources, journal, entries)
        shown = progress(rows, description="recordings formatted", total=total, unit="recording")
        while block := list(islice(shown, _BLOCK)):
            todo = [(utterance, source) for utterance, source, done in block if done is None]
            before += len(block) - len(todo)
            count += len(block)
            if processes > 1 and len(todo) > 1:
                fresh = pool.map(work, todo, chunksize=16)
            else:
                fresh = map(work, todo)
            made: list[Item] = []
            for item in fresh:
                made.append(item)
                if len(made) % 64 == 0:
                    journal.add(made[-64:])
            journal.add(made[len(made) - len(made) % 64 :])
            following = iter(made)
            for _, _, done in block:
                stream.write(_row(done or next(following)))
    if before:
        logging.info(f"{output}: {before} of {count} recordings were formatted before")


def _row(item: Item) -> str:
    recording = vars(item.recording) if item.recording else None
    return json.dumps([item.utterance, item.source, recording, item.problem]) + "\n"


def read_shard(output: Path, name: str) -> Iterator[Item]:
    """Reads what ``format_shard`` wrote.

    Raises:
        DataError: That job did not finish.
    """
    path = output / "logs" / f"items.{name}.jsonl"
    if not path.is_file():
        raise DataError(f"{path}: missing; job {name} did not finish, start the stage again")
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            utterance, source, fields, problem = json.loads(line)
            yield Item(utterance, source, Recording(**fields) if fields else None, problem)


def write_results(output: Path, names: Sequence[str], *, max_bad: float) -> list[str]:
    """Writes ``wav.scp``, ``utt2num_samples`` and ``skipped.tsv`` of all shards, line by line.

    Args:
        output: The directory of the shards, and to write to.
        names: Numbers of the shards.
        max_bad: The share of recordings that may be skipped, 0 to 1.

    Returns:
        A report, one sentence per line.

    Raises:
        DataError: More than that are bad, or all.
    """
    report = FormatReport()
    with ExitStack() as stack:
        paths = [
            stack.enter_context(atomic_path(output / name))
            for name in ("wav.scp", "utt2num_samples")
        ]
        with ExitStack() as files:
            scp, samples = (files.enter_context(p.open("w", encoding="utf-8")) for p in paths)
            skipped = files.enter_context((output / "skipped.tsv").open("w", encoding="utf-8"))
            skipped.write("utterance\tfile\tproblem\n")
            for name in names:
                for item in read_shard(output, name):
                    report.count(item)
                    if item.recording is None:
                        skipped.write(f"{item.utterance}\t{item.source}\t{item.problem}\n")
                        continue
                    scp.write(f"{item.utterance} {item.recording.path}\n")
                    samples.write(f"{item.utterance} {item.recording.num_samples}\n")
        if not report.good or report.bad > max_bad * (report.good + report.bad):
            first = f"; the first: {report.first_bad}" if report.bad else ""
            raise DataError(
                f"{output}: {report.bad} of {report.good + report.bad} recordings cannot be used"
                f"{first}. All are listed in {output / 'skipped.tsv'}. Is the corpus complete and "
                f"its disk mounted? Then allow a larger share with --max_bad (now {max_bad})"
            )
        for path in paths:
            sort_file(path)
    return report.lines()


@dataclass
class FormatReport:
    """What became of the recordings."""

    good: int = 0
    bad: int = 0
    kept: int = 0
    mixed: int = 0
    shorter: int = 0
    most_missing: float = 0.0
    rates: Counter[int] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def first_bad(self) -> str:
        """The first recording that cannot be used, and why."""
        return self.examples[0].partition(": ")[2]

    def count(self, item: Item) -> None:
        """Adds one recording."""
        if item.recording is None:
            self.bad += 1
            if len(self.examples) < 10:
                self.examples.append(f"SKIPPED {item.utterance}: {item.source}: {item.problem}")
            return
        self.good += 1
        self.kept += item.recording.kept
        self.mixed += item.recording.mixed_down
        self.shorter += item.recording.missing_seconds > 0
        self.most_missing = max(self.most_missing, item.recording.missing_seconds)
        if item.recording.resampled_from:
            self.rates[item.recording.resampled_from] += 1

    def lines(self) -> list[str]:
        """The report, one sentence per line."""
        report = [f"{self.good} recordings ready, {self.kept} of them used as they are"]
        report += [
            f"{n} resampled from {rate} Hz" for rate, n in sorted(self.rates.items(), key=str)
        ]
        if self.mixed:
            report.append(f"{self.mixed} with several channels mixed down to one")
        if self.shorter:
            most = f"{1000 * self.most_missing:.0f} ms"
            report.append(f"{self.shorter} end before their headers say, by {most} at most: used")
        report += self.examples
        if self.bad > len(self.examples):
            report.append(f"SKIPPED {self.bad - len(self.examples)} more, see skipped.tsv")
        return report


@contextmanager
def sources_of(wav_scp: Path, key_file: Path | None = None) -> Iterator[Iterator[tuple[str, str]]]:
    """Utterances and recordings, sorted, those of ``key_file`` only when one is given.

    Raises:
        DataError: There is a ``segments`` file, nothing in ``wav.scp``, or a key that is not there.
    """
    if (wav_scp.parent / "segments").exists():
        raise DataError(f"{wav_scp.parent / 'segments'}: not supported; cut the recordings first")
    if next(read_lines(wav_scp), None) is None:
        raise DataError(f"{wav_scp}: empty; run the data preparation (stage 1) again")
    with ExitStack() as stack:
        paths = [stack.enter_context(in_order(wav_scp))]
        if key_file is not None:
            paths.append(stack.enter_context(in_order(key_file)))

        def lines() -> Iterator[tuple[str, str]]:
            for key, values in side_by_side(paths):
                if values[-1] is None:
                    continue
                if values[0] is None:
                    raise DataError(f"{key_file}: {key} is not in {wav_scp}")
                yield key, values[0]

        yield lines()
