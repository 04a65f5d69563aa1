"""Write the part of a data directory that stays, line by line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from espnet_plugin.data.scp import DataError, read_lines, write_lines
from espnet_plugin.data.sorted_tables import (
    groups,
    in_order,
    read_sorted,
    side_by_side,
    sort_file,
)
from espnet_plugin.utils.atomic import atomic_path

REQUIRED = ("wav.scp", "utt2spk", "utt2image")
PER_UTTERANCE = (
    *REQUIRED,
    "text",
    "utt2num_samples",
    "utt2image_id",
    "image_feat.scp",
    "speech_states.scp",
)
PER_IMAGE = ("image.scp",)
PER_WORD = ("words.ctm",)
WHOLE = ("feats_type", "audio_format")


@dataclass
class FixReport:
    """What a consistency pass removed: file name or reason → ids."""

    kept: int = 0
    removed: dict[str, list[str]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """One sentence per reason, with up to three examples."""
        texts = [f"{self.kept} utterances kept"]
        for reason, ids in self.removed.items():
            examples = ", ".join(sorted(ids)[:3]) + (", ..." if len(ids) > 3 else "")
            texts.append(f"{len(ids)} utterances removed: {reason} ({examples})")
        return texts


def present(directory: Path, names: Sequence[str]) -> list[Path]:
    """The files among ``names`` that the directory has."""
    return [directory / name for name in names if (directory / name).is_file()]


def select(
    source: Path, target: Path, decide: Callable[[str, dict[str, str | None]], str | None]
) -> FixReport:
    """Writes to ``target`` the utterances of ``source`` that stay, sorted, line by line.

    ``image.scp`` keeps the pictures that these utterances show, and ``spk2utt`` is made anew.

    Args:
        source: A data directory, its files in any order.
        target: Another one, or the same.
        decide: Gets an utterance and what each file says about it (None: nothing), and returns
            why it is removed, or None.

    Raises:
        DataError: No utterance stays.
    """
    target.mkdir(parents=True, exist_ok=True)
    report = FixReport()
    images: set[str] = set()
    tables = present(source, PER_UTTERANCE)
    names = [path.name for path in tables]
    with ExitStack() as stack:
        ordered = [stack.enter_context(in_order(path)) for path in tables]
        # all files take their places together, when the last line is written
        places = [stack.enter_context(atomic_path(target / name)) for name in names]
        with ExitStack() as files:
            outputs = [files.enter_context(path.open("w", encoding="utf-8")) for path in places]
            for key, values in side_by_side(ordered):
                lines = dict(zip(names, values, strict=True))
                reason = decide(key, lines)
                if reason is not None:
                    report.removed.setdefault(reason, []).append(key)
                    continue
                report.kept += 1
                images.add(lines["utt2image"] or "")
                for output, value in zip(outputs, values, strict=True):
                    if value is not None:
                        # ESPnet's readers end a line at a carriage return
                        value = value.replace("\r", " ")
                        output.write(f"{key} {value}\n" if value else f"{key}\n")
        if not report.kept:
            raise DataError(f"{source}: no utterance is left; {'; '.join(report.lines())}")
    for path in present(source, PER_WORD):
        _restrict_words(path, target / "wav.scp", target / path.name)
    for path in present(source, PER_IMAGE):
        with in_order(path) as ordered_path:
            lines_ = (line for line in read_sorted(ordered_path) if line[0] in images)
            write_lines(target / path.name, lines_)
    if source != target:
        for path in present(source, WHOLE):
            shutil.copyfile(path, target / path.name)
    write_spk2utt(target)
    return report


def _restrict_words(source: Path, utterances: Path, target: Path) -> None:
    """Keeps the words of the utterances in a sorted file; an utterance's words stay in order."""

    def lines() -> Iterator[tuple[str, str]]:
        keys = (key for key, _ in read_lines(utterances))
        wanted = next(keys, None)
        for key, words in groups(ordered):
            while wanted is not None and wanted.encode() < key.encode():
                wanted = next(keys, None)
            if key == wanted:
                yield from ((key, word) for word in words)

    with in_order(source) as ordered:
        write_lines(target, lines())


def write_spk2utt(directory: Path) -> None:
    """Makes ``spk2utt`` from ``utt2spk``."""
    with atomic_path(directory / "spk2utt") as temporary:
        swapped = ((speaker, utt) for utt, speaker in read_lines(directory / "utt2spk"))
        write_lines(temporary, swapped)
        sort_file(temporary)
        write_lines(temporary, ((speaker, " ".join(utts)) for speaker, utts in groups(temporary)))
