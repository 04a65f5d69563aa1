"""Sum up a data preparation: counts beside the published ones, hours, and what was skipped."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from espnet_plugin.utils.atomic import write_text

from .spoken_captions import Checked, Corpus


@dataclass
class SplitCounts:
    """The numbers of what one set holds."""

    images: int = 0
    utterances: int = 0
    speakers: int = 0
    seconds: float = 0.0
    shortest: float = float("inf")
    longest: float = 0.0


@dataclass
class Summary:
    """Counts of one preparation."""

    corpus: Corpus
    splits: dict[str, SplitCounts]
    skipped: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    absent: int = 0
    outside: int = 0
    where: str = ""  # the first of those with a problem, and the file that lists all

    @property
    def bad(self) -> int:
        """Utterances with a problem, without those that have no file here."""
        return sum(self.skipped.values())

    def count(self, checked: Checked) -> None:
        """Add one utterance of a split."""
        if checked.absent:
            self.absent += 1
        elif checked.problem:
            self.skipped[checked.problem] += 1
        else:
            self.kept += 1
            counts = self.splits[checked.item.split]
            counts.utterances += 1
            counts.seconds += checked.seconds
            counts.shortest = min(counts.shortest, checked.seconds)
            counts.longest = max(counts.longest, checked.seconds)

    def problems(self) -> str:
        """What is missing or broken, in one sentence."""
        parts = [f"{count} x {problem}" for problem, count in self.skipped.most_common()]
        if self.absent:
            parts.append(f"{self.absent} x neither recording nor image there")
        if self.where:
            parts.append(self.where)
        return "Found: " + ("; ".join(parts) if parts else "none in the lists") + "."

    def lines(self) -> list[str]:
        """The summary as text, a table first."""
        header = f"{'set':<6}{'images':>18}{'utterances':>20}{'speakers':>10}{'hours':>9}  seconds"
        published = " (in brackets: published)" if self.corpus.published else ""
        rows = [f"{self.corpus.name}: prepared{published}", header]
        for split, counts in self.splits.items():
            known = self.corpus.published.get(split, {})
            spread = f"{counts.shortest:.2f}-{counts.longest:.2f}" if counts.utterances else "-"
            images = _beside(counts.images, known.get("images"))
            utterances = _beside(counts.utterances, known.get("utterances"))
            rows.append(
                f"{split:<6}{images:>18}{utterances:>20}{counts.speakers:>10}"
                f"{counts.seconds / 3600:>9.2f}  {spread}"
            )
        rows += self.corpus.notes
        skipped = f"skipped utterances: {self.bad} of {self.kept + self.bad}; {self.where}"
        rows.append(skipped if self.skipped else "skipped: nothing")
        rows += [f"  {count} x {problem}" for problem, count in self.skipped.most_common()]
        if self.absent:
            rows.append(
                f"WARNING: utterances of the lists with neither file here: {self.absent}; "
                "this is a part of the corpus"
            )
        if self.outside:
            rows.append(f"utterances of images without a split: {self.outside}")
        return rows

    def write(self, directory: Path) -> None:
        """Log the summary and write ``summary.txt``."""
        lines = self.lines()
        for line in lines:
            level = logging.WARNING if line.startswith("WARNING") else logging.INFO
            logging.log(level, line.removeprefix("WARNING: "))
        write_text(directory / "summary.txt", "\n".join(lines) + "\n")


def _beside(count: int, published: int | None) -> str:
    return f"{count:,} ({published:,})" if published is not None else f"{count:,}"
