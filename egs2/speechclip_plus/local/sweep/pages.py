"""Write RESULTS.md and the pages of results/ from the sweeps that are kept there.

python -m local.sweep.pages

Each results/templates/NAME.md.jinja becomes a page. Its sentences are written by hand; ``mean``,
``spread``, ``table`` and their like put the numbers of sweeps into them. A *source* of numbers is
``SWEEP/SYSTEM``, as in ``digits/hybrid_plus``; ``SWEEP/SYSTEM/1`` has only the runs on corpus 1.
"""

from __future__ import annotations

import re
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jinja2

from espnet_plugin.evaluation.report.tables import Table

from .runs import TRAINING_CPU
from .show_sweep import read_sweep
from .summary import MEASURES, SWEEP_FILE

RESULTS = Path(__file__).parents[2] / "results"
NAMES = {  # of measures, as pages have them
    "sub-word hit@1": "keywords.subword_hit@1",
    "sub-word hit@5": "keywords.subword_hit@5",
    "content-word hit@1": "keywords.content_word_hit@1",
    "content-word recall": "keywords.content_word_recall",
    "precision": "keywords.precision",
    "duplicates": "keywords.duplicate_rate",
    "boundary F, 50 ms": "keywords.boundaries.f_score",
    "boundary F, 20 ms": "keywords.boundaries_20ms.f_score",
}
WIDTH = 120  # of a line
ENOUGH = 0.01  # that a part brings in the mean, see docs/protocol.md


def pages(results: Path = RESULTS) -> dict[Path, str]:
    """Makes the text of each page from the templates below a folder.

    Raises:
        ValueError: If a sweep is missing.
    """
    sweeps = {path.parent.name: read_sweep(path) for path in results.glob(f"*/{SWEEP_FILE}")}
    loader = jinja2.FileSystemLoader(results / "templates")
    engine = jinja2.Environment(  # noqa: S701  Markdown of our own, not HTML
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    engine.globals.update(Numbers(sweeps).functions())
    return {
        (results.parent if name.startswith("RESULTS") else results) / name.removesuffix(".jinja"): (
            wrap(engine.get_template(name).render())
        )
        for name in engine.list_templates()
    }


def wrap(text: str) -> str:
    """Fills paragraphs, which numbers have made uneven; tables, lists and code stay."""
    blocks = text.replace(" %", "\xa0%").split("\n\n")  # no line may begin with a percent sign
    filled = (
        textwrap.fill(block, WIDTH, break_long_words=False, break_on_hyphens=False)
        if re.match(r"[\w*\[\"]", block) and not re.match(r"\d+\.", block)
        else block
        for block in blocks
    )
    return "\n\n".join(filled).replace("\xa0%", " %").rstrip("\n") + "\n"


def measure_of(label: str) -> str:
    """Name that a measure has in sweep.json; ``cascaded → image R@1`` is a branch's recall.

    A name in sweep.json, with its dots, stands for itself.
    """
    if found := re.fullmatch(r"(\w+) → (\w+) R@(\d+)", label):
        query, answer, k = found.groups()
        branch, direction = (
            (answer, "image_to_speech") if query == "image" else (query, "speech_to_image")
        )
        return f"{'fusion' if branch == 'both' else branch}.{direction}.recall@{k}"
    return label if "." in label else NAMES[label]


class Numbers:
    """What templates may call: numbers of sweeps, as text.

    Args:
        sweeps: Content of each sweep.json, by the name of its folder.
    """

    def __init__(self, sweeps: Mapping[str, Mapping]) -> None:
        self._sweeps = sweeps

    def functions(self) -> dict[str, Callable[..., str]]:
        """Functions that templates may call, by name."""
        functions: tuple[Callable[..., str], ...] = (self.mean, self.spread, self.table)
        functions += (self.parts_table, self.cpu_ratio, self.count, self.told_apart)
        return {function.__name__: function for function in functions}

    def mean(self, source: str, label: str) -> str:
        """Mean of a measure over a source's runs, in %; a dash without a source or values."""
        found = self._values(source, label) if source else []
        if not found:
            return "–"
        tie = 1e-9  # a 5 that follows is rounded up, in binary fractions too
        return f"{100 * statistics.mean(found) + tie:.1f}"

    def spread(self, source: str, label: str) -> str:
        """Mean ± standard deviation of a measure over a source's runs, in %."""
        found = self._values(source, label)
        mean = self.mean(source, label)
        return f"{mean} ± {100 * statistics.stdev(found):.1f}" if found else mean

    def table(
        self, columns: Mapping[str, str], labels: Sequence[str], *, deviations: bool = False
    ) -> str:
        """A table with a row for each measure and a column for each title and source."""
        cell = self.spread if deviations else self.mean
        rows = [(label, *(cell(source, label) for source in columns.values())) for label in labels]
        return Table(("%", *columns), tuple(rows)).markdown()

    def parts_table(self, whole: str, parts: Mapping[str, str], labels: Sequence[str]) -> str:
        """A row for the whole recipe and each part that is left out; bold is where it pays.

        Args:
            whole: Source of the whole recipe.
            parts: Name of the ablation, as in conf/ablations.tsv, by what the table says.
            labels: Measures.
        """
        rows = [("nothing", *(self.mean(whole, label) for label in labels))]
        for title, name in parts.items():
            without = f"{whole}.{name}"
            bold = ["**" if self.pays(whole, without, label) else "" for label in labels]
            means = [self.mean(without, label) for label in labels]
            rows.append((title, *(f"{b}{mean}{b}" for b, mean in zip(bold, means, strict=True))))
        return Table(("left out", *labels), tuple(rows)).markdown()

    def pays(self, whole: str, without: str, label: str) -> bool:
        """Whether a measure is worse without a part, in every run and by enough in the mean."""
        name = measure_of(label)
        sign = 1 if MEASURES[name].higher_is_better else -1
        complete = self._runs(whole)
        gains = [
            sign * (complete[seed][name] - run[name])
            for seed, run in self._runs(without).items()
            if run.get(name) is not None
        ]
        return bool(gains) and min(gains) > 0 and statistics.mean(gains) > ENOUGH

    def cpu_ratio(self, source: str, baseline: str) -> str:
        """Processor time of training, as a multiple of another's."""
        new, old = (
            statistics.mean(run[TRAINING_CPU] for run in self._runs(name).values())
            for name in (source, baseline)
        )
        return f"{new / old:.2f}"

    def count(self, source: str, name: str, *, digits: int = 1) -> str:
        """Mean of one of the numbers about how many keywords there are."""
        sweep, system = source.split("/")
        return f"{self._sweeps[sweep]['counts'][system][name][0]:.{digits}f}"

    def told_apart(self, source: str, branch: str, kind: str) -> str:
        """Share of captions nearer to their image than to one that differs in this, in %."""
        sweep, system = source.split("/")
        return f"{100 * self._sweeps[sweep]['hard_negatives'][system][f'{branch}, {kind}'][0]:.1f}"

    def _runs(self, source: str) -> dict[str, Mapping]:
        """Measures of each run, by its seed."""
        sweep, system, *corpus = source.split("/")
        beginning = f"{corpus[0]}/" if corpus else ""
        found = self._sweeps[sweep]["systems"][system]
        return {seed: run for seed, run in found.items() if seed.startswith(beginning)}

    def _values(self, source: str, label: str) -> list[float]:
        found = (run.get(measure_of(label)) for run in self._runs(source).values())
        return [value for value in found if value is not None]


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
