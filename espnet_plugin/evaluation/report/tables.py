"""Tables of RESULTS.md and report.html, made from the dictionary that becomes scores.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espnet_plugin.evaluation.measures import BOUNDARY_F, KEYWORDS, PLACES, RETRIEVAL, SYSTEMS
from espnet_plugin.utils.small_files import look_up

_SPEECH_AND_IMAGES = {
    "speech → image": ("speech_to_image", "text_to_image"),
    "image → speech": ("image_to_speech", "image_to_text"),
}
_SPEECH_AND_TEXT = {
    "speech → text": ("speech_to_text",),
    "text → speech": ("text_to_speech",),
    "speech → speech": ("speech_to_speech",),
    "speech → other languages": ("speech_to_other_languages",),
}
_WORDS = ("content_word_recall", "content_word_hit@1", "duplicate_rate")
_COMPARED_COLUMNS = {"R@1": "recall@1", "R@10": "recall@10"}
_COMPARED_COLUMNS |= {KEYWORDS[key][0]: key for key in _WORDS}
_COMPARED = """\
R@1 and R@10 (speech → image, {system}): the share of the spoken captions whose own image ranks
first, or among the first ten, of {images} images. CLIP reads the captions instead. Keyword recall:
the share of the spoken content words that are named. Keyword precision: the share of the named
content words that were said. Repeats: the share of the keywords that repeat an earlier one."""
_DETECTED = {"P@10": "precision_at_10", "localisation precision": "located_precision"}
SPARSE = -1 / 3  # over-segmentation: two boundaries where words have three


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        header: Titles of the columns.
        rows: Rows with a cell for each column.
        text_columns: Positions of the columns that hold words; the others hold numbers.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: tuple[int, ...] = (0,)

    def markdown(self) -> str:
        """The table as GitHub writes it."""
        rule = ["---" if c in self.text_columns else "---:" for c in range(len(self.header))]
        lines = [self.header, rule, *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def score_tables(scores: Mapping) -> list[Table]:
    """All tables of a set's scores, in the order of the report."""
    tables = retrieval_tables(scores)
    if "languages" in scores:
        tables.append(language_table(scores["languages"]))
    tables += speech_text_tables(scores)
    if keywords := scores.get("keywords"):
        tables.append(keyword_table(keywords, scores["intervals"]["keywords"]))
        if "languages" in keywords:
            tables.append(keyword_language_table(keywords["languages"]))
        if keywords["detection"]:
            tables.append(detection_table(keywords["detection"]))
    return tables


def retrieval_tables(scores: Mapping) -> list[Table]:
    """recall@k in % and the median rank of every system with intervals, a table per direction."""
    return _tables(scores, _SPEECH_AND_IMAGES)


def speech_text_tables(scores: Mapping) -> list[Table]:
    """Zero-shot retrieval of captions by speech and back, and of others' speech by speech."""
    return _tables(scores, _SPEECH_AND_TEXT)


def language_table(languages: Mapping) -> Table:
    """recall@k in % of searches for images by speech, by the language that is spoken."""
    names = next(name for scores in languages.values() for name in scores.values())
    recalls = [name for name in PLACES if name in names]
    rows = [
        (language, SYSTEMS[system], *(_percent(found[name]) for name in recalls))
        for language, scores in languages.items()
        for system, found in scores.items()
    ]
    columns = (PLACES[name] for name in recalls)
    return Table(("speech → image", "by", *columns), tuple(rows), text_columns=(0, 1))


def _tables(scores: Mapping, titles: Mapping[str, Sequence[str]]) -> list[Table]:
    found = next(iter(scores["chance"].values()))
    measures = [name for name in RETRIEVAL if name in found]
    columns = [RETRIEVAL[name] for name in measures]
    tables = []
    for title, directions in titles.items():
        rows = []
        for system, name in SYSTEMS.items():
            direction = next((d for d in directions if d in scores.get(system, {})), None)
            if direction:
                rows.append((name, *(_cell(scores, system, direction, m) for m in measures)))
        if rows:
            tables.append(Table((title, *columns), tuple(rows)))
    return tables


def keyword_table(keywords: Mapping, intervals: Mapping) -> Table:
    """Keyword rates in % and numbers of keywords; the last column has only reported keywords.

    What repeats something else or says nothing is left out.
    """
    shown = [name for name in KEYWORDS if keywords.get(name) is not None]
    shown = [name for name in shown if not _repeats(name, keywords, intervals)]
    rows: list[tuple[str, ...]] = [
        (KEYWORDS[name][0], _rate(name, keywords, intervals.get(name)), KEYWORDS[name][1])
        for name in shown
    ]
    rows += _boundary_rows(keywords)
    header = ["measure", "% or number", "what"]
    keys = [*shown, *[""] * (len(rows) - len(shown))]  # boundaries have none
    left_out = [keywords.get("left_out", {}).get(key, 0) for key in keys]
    if any(left_out):
        header.append("utterances left out")
        rows = [(*row, str(number)) for row, number in zip(rows, left_out, strict=True)]
    if reported := keywords.get("reported"):
        more = [(*row, _rate(key, reported)) for row, key in zip(rows, keys, strict=True)]
        # a limit that keeps all keywords repeats the rates
        if any(row[-1] not in ("", row[1].partition(" (")[0]) for row in more):
            header.append(f"score ≥ {reported['min_score']:g}")
            rows = more
    return Table(tuple(header), tuple(rows), text_columns=(0, 2))


def keyword_language_table(languages: Mapping) -> Table:
    """Keyword rates in % by the language that is spoken, and those of reported keywords."""
    paths: dict[str, tuple[str, ...]] = {KEYWORDS[key][0]: (key,) for key in _WORDS}
    paths |= {f"{KEYWORDS[key][0]}, reported": ("reported", key) for key in _WORDS}
    paths[BOUNDARY_F] = ("boundaries", "f_score")
    rows = [
        (
            language,
            str(scores["utterances"]),
            *(_percent_or_dash(look_up(scores, path)) for path in paths.values()),
        )
        for language, scores in languages.items()
    ]
    return Table(("language", "utterances", *paths), tuple(rows))


def detection_table(detection: Mapping) -> Table:
    """Detection and localisation of given words in %, by language."""
    rows = [
        (
            language,
            str(found["words"]),
            *(_percent_or_dash(found[measure]) for measure in _DETECTED.values()),
        )
        for language, found in detection.items()
    ]
    return Table(("spoken", "words", *_DETECTED), tuple(rows))


def _boundary_rows(keywords: Mapping) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    sparse = _is_sparse(keywords)
    for name in ("boundaries",) if sparse else ("boundaries", "boundaries_20ms"):
        scores = keywords.get(name)
        if scores and scores.get("f_score") is not None:
            meaning = f"word boundaries found, within {1000 * scores['tolerance']:.0f} ms"
            cell = " / ".join(_percent(scores[m]) for m in ("precision", "recall", "f_score"))
            rows.append(("boundaries: precision / recall / F", cell, meaning))
            if scores.get("over_segmentation") is not None and not sparse:
                cell = " / ".join(_percent(scores[m]) for m in ("over_segmentation", "r_value"))
                rows.append(("boundaries: over-segmentation / R-value", cell, meaning))
    return rows


def _is_sparse(keywords: Mapping) -> bool:
    """Whether a model makes fewer segments than there are words, so it does not segment speech."""
    share = look_up(keywords, ("boundaries", "over_segmentation"))
    return share is not None and share < SPARSE


def _repeats(name: str, keywords: Mapping, intervals: Mapping) -> bool:
    """Whether a rate of words equals that of sub-words, as in data whose words are sub-words."""
    other = name.replace("word_hit", "subword_hit") if name.startswith("word_hit") else name
    same = keywords.get(name) == keywords.get(other) and intervals.get(name) == intervals.get(other)
    return other != name and same


def _rate(name: str, scores: Mapping, interval: Sequence[float] | None = None) -> str:
    if scores.get(name) is None:
        return ""
    return f"{scores[name]:.2f}" if name.startswith("mean_") else _percent(scores[name], interval)


def comparison_table(models: Mapping[str, Mapping]) -> tuple[Table, str]:
    """Retrieval and reported keywords of models on one set in %, with chance and with CLIP.

    Args:
        models: Content of each model's scores.json, by the model's name.

    Returns:
        The table, and what its columns mean.
    """
    systems = ("fusion", "parallel", "cascaded")
    system = next(name for name in systems if all(name in each for each in models.values()))
    first = next(iter(models.values()))
    found = [("chance", first["chance"]["speech_to_image"])]
    for name, scores in models.items():
        keywords = scores["keywords"].get("reported", scores["keywords"])
        found.append((name, scores[system]["speech_to_image"] | keywords))
    found.append((SYSTEMS["teacher"], first["teacher"]["text_to_image"]))
    rows = []
    for name, values in found:
        cells = (values.get(measure) for measure in _COMPARED_COLUMNS.values())
        rows.append((name, *map(_percent_or_dash, cells)))
    table = Table(("in %", *_COMPARED_COLUMNS), tuple(rows))
    return table, _COMPARED.format(system=system, images=first["images"])


def warnings_of(scores: Mapping) -> list[str]:
    """One sentence for each branch that finds no more images than chance, by R@10."""
    chance = look_up(scores, ("chance", "speech_to_image", "recall@10"))
    found = []
    for system in ("parallel", "cascaded"):
        recall = look_up(scores, (system, "speech_to_image", "recall@10"))
        interval = look_up(scores, ("intervals", system, "speech_to_image", "recall@10"))
        if recall is not None and interval and interval[0] <= chance < 1:
            found.append(
                f"The {system} branch finds no more images than chance: R@10 is "
                f"{_percent(recall, interval)} %, and {_percent(chance)} % in a random order. Look "
                "at the learning curve, and whether recordings and images belong together."
            )
    return found


def _cell(scores: Mapping, system: str, direction: str, measure: str) -> str:
    value = scores[system][direction][measure]
    interval = look_up(scores, ("intervals", system, direction, measure))
    if measure != "median_rank":
        return _percent(value, interval)
    text = f"{value:g}"
    return f"{text} ({interval[0]:g}–{interval[1]:g})" if interval else text


def _percent(value: float, interval: Sequence[float] | None = None) -> str:
    text = f"{100 * value:.1f}"
    if not interval or interval[0] is None:
        return text
    low, high = (100 * min(max(end, 0.0), 1.0) for end in interval)  # a share has no others
    return f"{text} ({low:.1f}–{high:.1f})"


def _percent_or_dash(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else _percent(value)
