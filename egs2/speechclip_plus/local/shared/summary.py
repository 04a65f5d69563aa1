"""Sum up a data preparation: counts beside the published ones, and what was skipped."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_plugin.data.skipped import Skipped
from espnet_plugin.utils.atomic import write_text

from .spoken_captions import ABSENT, Corpus, SpokenCaption


@dataclass(frozen=True)
class Summary:
    """What one preparation found.

    Attributes:
        corpus: The corpus.
        sets: Spoken captions of each set.
        skipped: What each set lacks; of these, the ones without any file are only counted.
        outside: Number of utterances of images without a split.
    """

    corpus: Corpus
    sets: Mapping[str, Sequence[SpokenCaption]]
    skipped: Mapping[str, Sequence[Skipped]]
    absent: int
    outside: int

    @property
    def kept(self) -> int:
        """Utterances of all sets."""
        return sum(map(len, self.sets.values()))

    @property
    def problems(self) -> Counter[str]:
        """Number of utterances that are skipped for each reason."""
        return Counter(row.problem for rows in self.skipped.values() for row in rows)

    def findings(self) -> list[str]:
        """What is missing or contradictory, and the first file of it."""
        lines = [f"{count} x {problem}" for problem, count in self.problems.most_common()]
        first = next((row for rows in self.skipped.values() for row in rows), None)
        if first:
            lines.append(f"the first is {first.utterance} ({first.problem}: {first.file})")
        if self.absent:
            lines.append(f"{self.absent} x {ABSENT}")
        return lines

    def lines(self) -> list[str]:
        """The summary as text, a table first."""
        published = " (in brackets: published)" if self.corpus.published else ""
        lines = [f"{self.corpus.name}: prepared{published}"]
        lines.append(f"{'set':<6}{'images':>18}{'utterances':>20}{'speakers':>10}")
        for split, members in self.sets.items():
            known = self.corpus.published.get(split, {})
            images = _beside(len({item.image for item in members}), known.get("images"))
            utterances = _beside(len(members), known.get("utterances"))
            speakers = len({item.speaker for item in members})
            lines.append(f"{split:<6}{images:>18}{utterances:>20}{speakers:>10}")
        lines += self.corpus.notes
        bad = self.problems.total()
        lines.append(f"skipped utterances: {bad} of {self.kept + bad}; each set lists its own")
        lines += [f"  {finding}" for finding in self.findings()]
        if self.absent:
            lines.append("WARNING: this is a part of the corpus")
        if self.outside:
            lines.append(f"utterances of images without a split: {self.outside}")
        return lines

    def write(self, directory: Path) -> None:
        """Log the summary and write ``summary.txt``."""
        lines = self.lines()
        for line in lines:
            level = logging.WARNING if line.startswith("WARNING") else logging.INFO
            logging.log(level, line.removeprefix("WARNING: "))
        write_text(directory / "summary.txt", "\n".join(lines) + "\n")


def _beside(count: int, published: int | None) -> str:
    return f"{count:,} ({published:,})" if published is not None else f"{count:,}"
