"""Write data/<corpus>_{train,dev,test} from spoken captions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from espnet_plugin.data.datadir import WORDS_CTM, write_spk2utt
from espnet_plugin.data.scp import write_scp
from espnet_plugin.data.skipped import Skipped, write_skipped
from espnet_plugin.evaluation.alignments import ctm_text
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError
from espnet_plugin.utils.progress import progress

from .spoken_captions import ABSENT, Corpus, SpokenCaption, problem_of
from .summary import Summary

UNKNOWN_SPEAKER = "unknown"


def prepare_sets(corpus: Corpus, data_dir: Path, *, allow_outside: bool = False) -> Summary:
    """Write the data directories of what is there, the lists of what is not, and the summary.

    Also writes ``data/local/<corpus>/captions``: the captions of all splits and of images that no
    split has, from which ``--vocab_from all`` counts. It is empty without captions.

    Args:
        corpus: The corpus, as its reader found it.
        data_dir: Folder of the data directories, ``data``.
        allow_outside: Whether files may lie outside the corpus's folders, too.

    Raises:
        DataError: If a set is empty, an image id stands for two files, or the sets are of another
            folder.
    """
    local = data_dir / "local" / corpus.name
    if corpus.folder is not None:
        _check_owner(local / "root", corpus)
    captions = without_contradictions(corpus.captions)
    summary = _sort(corpus, captions, () if allow_outside else corpus.roots)
    for split, skipped in summary.skipped.items():
        write_skipped(data_dir / f"{corpus.name}_{split}", skipped)
    for split, members in summary.sets.items():
        if not members:
            found = "; ".join(summary.findings()) or "none in the lists"
            raise DataError(
                f"{corpus.name}: no utterance of {split} can be used. Found: {found}. "
                f"Is the corpus complete and its disk mounted? {corpus.remedy}"
            )
    tables = {split: tables_of(members) for split, members in summary.sets.items()}
    if corpus.folder is not None:
        write_text(local / "root", f"{corpus.folder.resolve()}\n")
    for split, members in tables.items():
        directory = data_dir / f"{corpus.name}_{split}"
        write_set(directory, members)
        if corpus.words is not None:
            timed = [utterance for utterance in members["wav.scp"] if utterance in corpus.words]
            write_text(directory / WORDS_CTM, ctm_text(sorted(timed), corpus.words))
    write_scp(local / "captions", {c.utterance: c.caption for c in captions if c.caption})
    summary.write(local)
    return summary


def _sort(corpus: Corpus, captions: Sequence[SpokenCaption], roots: Sequence[Path]) -> Summary:
    """Puts what can be used into its set, as far as lists and names of files tell."""
    sets: dict[str, list[SpokenCaption]] = {split: [] for split in corpus.splits}
    skipped: dict[str, list[Skipped]] = {split: [] for split in corpus.splits}
    outside = absent = 0
    for item in progress(captions, description="files looked for", unit="recording"):
        if item.split not in sets:
            outside += 1
        elif not (problem := problem_of(item, roots)):
            sets[item.split].append(item)
        elif problem == ABSENT:
            absent += 1
        else:
            file = item.image_file if problem.startswith("image") else item.recording
            skipped[item.split].append(Skipped(item.utterance, file, problem))
    return Summary(corpus, sets, skipped, absent, outside)


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
        elif item.recording and recordings[item.recording] > 1:
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
