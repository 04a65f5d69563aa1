"""Write data/<corpus>_{train,dev,test} from a stream of spoken captions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from espnet_plugin.data.scp import DataError
from espnet_plugin.data.selection import write_spk2utt
from espnet_plugin.data.sorted_tables import groups, sort_file
from espnet_plugin.utils.progress import progress

from .spoken_captions import Checked, SpokenCaption, check_all
from .summary import Summary

SPLITS = ("train", "dev", "test")
PER_UTTERANCE = ("wav.scp", "text", "utt2spk", "utt2image")
UNKNOWN_SPEAKER = "unknown"
_TOLERATED = 50  # so few bad ones never stop the preparation, however small the corpus


def refuse_duplicates(path: Path) -> None:
    """Raises DataError when two lines of a sorted file have the same id."""
    for key, files in groups(path):
        if len(files) > 1:
            raise DataError(f"{key} is listed twice, for different files: {', '.join(files)}")


class SetWriter:
    """One data directory, filled beside its place and moved there when it is complete."""

    def __init__(self, directory: Path, *, with_text: bool) -> None:
        self.directory = directory
        self.partial = directory.with_name(f".{directory.name}.partial")
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        names = [*PER_UTTERANCE, "image.scp"]
        if not with_text:
            names.remove("text")
        self.stack = ExitStack()
        self.files: dict[str, TextIO] = {
            name: self.stack.enter_context((self.partial / name).open("w", encoding="utf-8"))
            for name in names
        }
        self.last_image = ""

    def add(self, item: SpokenCaption) -> None:
        """Writes the lines of one utterance."""
        key = item.utterance
        self.files["wav.scp"].write(f"{key} {item.recording}\n")
        self.files["utt2spk"].write(f"{key} {item.speaker or UNKNOWN_SPEAKER}\n")
        self.files["utt2image"].write(f"{key} {item.image}\n")
        if "text" in self.files:
            self.files["text"].write(f"{key} {item.caption}\n")
        if item.image != self.last_image:
            self.files["image.scp"].write(f"{item.image} {item.picture}\n")
            self.last_image = item.image

    def finish(self) -> None:
        """Sorts everything and puts the directory in place."""
        self.stack.close()
        for name in self.files:
            sort_file(self.partial / name, unique=True)
        for name in ("wav.scp", "image.scp"):
            refuse_duplicates(self.partial / name)
        write_spk2utt(self.partial)
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            # what an earlier preparation left
            if path.is_file():
                path.unlink()
        for path in sorted(self.partial.iterdir()):
            os.replace(path, self.directory / path.name)
        self.partial.rmdir()

    def abandon(self) -> None:
        """Removes what was written."""
        self.stack.close()
        shutil.rmtree(self.partial, ignore_errors=True)


def prepare_sets(
    items: Iterable[SpokenCaption],
    *,
    corpus: str,
    data_dir: Path,
    summary: Summary,
    jobs: int = 1,
    max_bad: float = 0.1,
    with_text: bool = True,
    total: int | None = None,
    splits: Sequence[str] = SPLITS,
) -> None:
    """Checks every utterance and writes the data directories.

    Also writes ``data/local/<corpus>/captions``: the captions of all splits and of pictures that no
    split has, from which ``--vocab_from all`` counts.

    Args:
        items: The corpus.
        corpus: Name of the corpus.
        data_dir: ``data``.
        summary: Collects counts and what is skipped.
        jobs: Processes that look at files.
        max_bad: Share of the utterances that may be skipped.
        with_text: Whether there are captions.
        total: Number of items, for the progress bar.
        splits: Sets to write.

    Raises:
        DataError: Too much is missing or broken, or a set is empty.
    """
    local = data_dir / "local" / corpus
    local.mkdir(parents=True, exist_ok=True)
    writers = {
        split: SetWriter(data_dir / f"{corpus}_{split}", with_text=with_text) for split in splits
    }
    captions = local / ".captions.partial"
    try:
        with ExitStack() as stack:
            all_captions = stack.enter_context(captions.open("w", encoding="utf-8"))
            skipped = stack.enter_context((local / "skipped.tsv").open("w", encoding="utf-8"))
            skipped.write("set\tutterance\tproblem\tfile\n")
            shown = progress(
                check_all(items, jobs=jobs),
                description="recordings checked",
                total=total,
                unit="recording",
            )
            for checked in shown:
                if checked.item.caption:
                    all_captions.write(f"{checked.item.utterance} {checked.item.caption}\n")
                _sort_in(checked, writers, summary, skipped)
        _judge(summary, local / "skipped.tsv", max_bad, splits)
        for writer in writers.values():
            writer.finish()
        if with_text:
            sort_file(captions, unique=True)
            os.replace(captions, local / "captions")
    finally:
        captions.unlink(missing_ok=True)
        for writer in writers.values():
            writer.abandon()
    for split in splits:
        directory = data_dir / f"{corpus}_{split}"
        summary.finish_split(split, directory)


def _sort_in(
    checked: Checked, writers: dict[str, SetWriter], summary: Summary, skipped: TextIO
) -> None:
    item = checked.item
    if item.split not in writers:
        summary.outside += 1
        return
    summary.count(checked)
    if not checked.problem:
        writers[item.split].add(item)
    elif not checked.absent:
        file = item.picture if checked.problem.startswith("picture") else item.recording
        skipped.write(f"{item.split}\t{item.utterance}\t{checked.problem}\t{file}\n")


def _judge(summary: Summary, skipped: Path, max_bad: float, splits: Sequence[str]) -> None:
    present = summary.kept + summary.bad
    for split in splits:
        if not summary.splits[split].utterances:
            raise DataError(
                f"{summary.corpus}: no utterance of {split} can be used. {summary.problems()} "
                f"See {skipped}. Is the corpus complete and its disk mounted? {summary.remedy}"
            )
    if summary.bad > max(_TOLERATED, max_bad * present):
        raise DataError(
            f"{summary.corpus}: {summary.bad} of {present} utterances cannot be used. "
            f"{summary.problems()} All are listed in {skipped}. Is the corpus unpacked to the end? "
            f"{summary.remedy} Or allow a larger share with --max_bad (now {max_bad})."
        )
