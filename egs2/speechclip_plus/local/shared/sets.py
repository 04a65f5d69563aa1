"""Write data/<corpus>_{train,dev,test} from spoken captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from espnet_plugin.data.datadir import write_spk2utt
from espnet_plugin.data.scp import write_scp
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import progress

from .spoken_captions import Corpus, SpokenCaption, check_all
from .summary import SplitCounts, Summary

UNKNOWN_SPEAKER = "unknown"
_TOLERATED = 50  # so few bad ones never stop the preparation, however small the corpus


def prepare_sets(
    corpus: Corpus,
    data_dir: Path,
    *,
    jobs: int = 1,
    max_bad: float = 0.1,
    allow_outside: bool = False,
) -> Summary:
    """Check every utterance and write the data directories and the summary.

    Also writes ``data/local/<corpus>/captions``: the captions of all splits and of images that no
    split has, from which ``--vocab_from all`` counts. It is empty without captions.

    Args:
        corpus: The corpus, as its reader found it.
        data_dir: Folder of the data directories, ``data``.
        jobs: Number of processes that look at files.
        max_bad: Share of the utterances that may be skipped.
        allow_outside: Whether files may lie outside the corpus's folders, too.

    Raises:
        DataError: If too much is missing, broken or contradictory, a set is empty, or an image id
            stands for two files, or the sets are of another folder.
    """
    owner = data_dir / "local" / corpus.name / "root"
    if corpus.folder is not None:
        _check_owner(owner, corpus)
    summary = Summary(corpus, {split: SplitCounts() for split in corpus.splits})
    sets: dict[str, list[SpokenCaption]] = {split: [] for split in corpus.splits}
    captions: dict[str, str] = {}
    skipped = ["set\tutterance\tproblem\tfile"]
    roots = () if allow_outside else corpus.roots
    checked_captions = progress(
        check_all(without_contradictions(corpus.captions), roots=roots, jobs=jobs),
        description="recordings checked",
        total=corpus.total,
        unit="recording",
    )
    for checked in checked_captions:
        item = checked.item
        if item.caption:
            captions[item.utterance] = item.caption
        if item.split not in sets:
            summary.outside += 1
            continue
        summary.count(checked)
        if not checked.problem:
            sets[item.split].append(item)
        elif not checked.absent:
            file = item.image_file if checked.problem.startswith("image") else item.recording
            row = f"{item.split}\t{item.utterance}\t{checked.problem}\t{file}"
            # a name may hold what no text file can
            skipped.append(row.encode("utf-8", "backslashreplace").decode())
    local = data_dir / "local" / corpus.name
    write_text(local / "skipped.tsv", "\n".join(skipped) + "\n")
    if len(skipped) > 1:
        _, utterance, problem, file = skipped[1].split("\t")
        summary.where = (
            f"the first is {utterance} ({problem}: {file}), {local / 'skipped.tsv'} has all"
        )
    _judge(summary, max_bad)
    tables = {split: tables_of(items) for split, items in sets.items()}
    if corpus.folder is not None:
        write_text(owner, f"{corpus.folder.resolve()}\n")
    for split, members in tables.items():
        summary.splits[split].images = len(members["image.scp"])
        summary.splits[split].speakers = len(set(members["utt2spk"].values()))
        write_set(data_dir / f"{corpus.name}_{split}", members)
    write_scp(local / "captions", captions)
    summary.write(local)
    return summary


def without_contradictions(captions: Iterable[SpokenCaption]) -> list[SpokenCaption]:
    """Mark contradictory entries, and those that are listed again."""
    items = list(captions)
    distinct = set(items)
    seen: set[SpokenCaption] = set()
    utterances = Counter(item.utterance for item in distinct)
    recordings = Counter(item.recording for item in distinct)
    for place, item in enumerate(items):
        problem = item.problem
        if utterances[item.utterance] > 1:
            problem = "its id is listed with something else, too"
        elif recordings[item.recording] > 1:
            problem = "recording of another utterance, too"
        elif item in seen:
            problem = "listed again"
        seen.add(item)
        if problem:
            items[place] = replace(item, problem=problem)
    return items


TABLES = ("image.scp", "text", "utt2image", "utt2lang", "utt2spk", "wav.scp")


def tables_of(items: Iterable[SpokenCaption]) -> dict[str, dict[str, str]]:
    """The tables of a data directory, without ``text`` when nothing says what is spoken.

    Raises:
        DataError: If an id stands for two files.
    """
    tables: dict[str, dict[str, str]] = {name: {} for name in TABLES}
    for item in items:
        for name, key, file in (
            ("wav.scp", item.utterance, item.recording),
            ("image.scp", item.image, item.image_file),
        ):
            if (first := tables[name].setdefault(key, file)) != file:
                raise DataError(f"{key} is listed twice, for different files: {first}, {file}")
        tables["utt2image"][item.utterance] = item.image
        tables["utt2spk"][item.utterance] = item.speaker or UNKNOWN_SPEAKER
        if item.language:
            tables["utt2lang"][item.utterance] = item.language
        if item.caption is not None:
            tables["text"][item.utterance] = item.caption
    return {name: table for name, table in tables.items() if table}


def write_set(directory: Path, tables: dict[str, dict[str, str]]) -> None:
    """Write a data directory in place of an earlier preparation's.

    Files that others put there (alignments) stay.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (*TABLES, "spk2utt"):
        (directory / name).unlink(missing_ok=True)
    # no stage starts without wav.scp: it comes last, to show that the others are complete
    for name, table in sorted(tables.items()):
        write_scp(directory / name, table)
        if name == "utt2spk":
            write_spk2utt(directory)


def _check_owner(owner: Path, corpus: Corpus) -> None:
    prepared = owner.read_text(encoding="utf-8").strip() if owner.exists() else ""
    if prepared and prepared != str(corpus.folder.resolve()):
        raise DataError(
            f"{corpus.name}: its sets are of {prepared}, not of {corpus.folder}. Rename one of the "
            f"folders. If you moved the corpus, remove {owner}"
        )


def _judge(summary: Summary, max_bad: float) -> None:
    name, remedy = summary.corpus.name, summary.corpus.remedy
    present = summary.kept + summary.bad
    for split, counts in summary.splits.items():
        if not counts.utterances:
            raise DataError(
                f"{name}: no utterance of {split} can be used. {summary.problems()} "
                f"Is the corpus complete and its disk mounted? {remedy}"
            )
    if summary.bad > max(_TOLERATED, max_bad * present):
        raise DataError(
            f"{name}: utterances that cannot be used: {summary.bad} of {present}. "
            f"{summary.problems()} Is the corpus unpacked to the end? {remedy} "
            f"Or allow a larger share with --max_bad (now {max_bad})."
        )
