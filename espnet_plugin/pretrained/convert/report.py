"""The account of a conversion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """A weight of the checkpoint: its name there, what was done, and its new name or the reason."""

    name: str
    action: str
    where: str


@dataclass
class ConversionReport:
    """Shows what the conversion did with each weight.

    Attributes:
        source: The checkpoint.
        architecture: parallel, cascaded, cascaded+, hybrid or hybrid+.
        entries: Every weight of the checkpoint, once.
        notes: Lines about the rest.
    """

    source: str
    architecture: str
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, action: str, name: str, where: str) -> None:
        """Adds a weight: what was done, its name there, and its new place or the reason."""
        self.entries.append(Entry(name, action, where))

    def check_complete(self, names: Iterable[str]) -> None:
        """Raises RuntimeError unless every name is accounted for exactly once."""
        given = sorted(names)
        accounted = sorted(entry.name for entry in self.entries)
        if given != accounted:
            difference = sorted(set(given) ^ set(accounted)) or ["a weight was counted twice"]
            raise RuntimeError(
                f"the conversion does not account for every weight: {', '.join(difference[:5])}"
            )

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.architecture}, {len(self.entries)} weights"]
        for action in sorted({entry.action for entry in self.entries}):
            chosen = [entry for entry in self.entries if entry.action == action]
            lines.append(f"{action} ({len(chosen)})")
            width = max(len(entry.name) for entry in chosen)
            lines += [f"  {entry.name:<{width}}  {entry.where}" for entry in chosen]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])
