"""Tables of RESULTS.md and report.html, made from the dictionary that becomes scores.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espnet_plugin.evaluation.scores.files import look_up

SYSTEMS = {
    "chance": "chance",
    "cascaded": "cascaded branch",
    "parallel": "parallel branch",
    "fusion": "both branches",
    "teacher": "teacher: written caption",
}
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
_KEYWORDS = (
    ("subword_hit@1", "nearest sub-word is in the caption"),
    ("subword_hit@5", "one of 5 nearest sub-words is in the caption"),
    ("word_hit@1", "word is in the caption"),
    ("word_hit@5", "word, by one of 5 nearest sub-words"),
    ("content_word_hit@1", "content keywords that are in the caption"),
    ("content_word_recall", "content sub-words of the caption that are named"),
    ("precision", "distinct keywords that are in the caption"),
    ("duplicate_rate", "repeated keywords"),
    ("content_words_exact", "utterances whose content words are all named, and no others"),
)
_NUMBERS = (
    ("mean_keywords", "keywords of an utterance"),
    ("mean_subwords", "sub-words of its caption"),
    ("mean_count_difference", "absolute difference of the two"),
)
_COMPARED_COLUMNS = {
    "R@1": "recall@1",
    "R@10": "recall@10",
    "words right": "content_word_hit@1",
    "words found": "content_word_recall",
    "repeats": "duplicate_rate",
}
_COMPARED = """\
R@1 and R@10 are the shares of spoken captions whose image is first, or among the first ten, of the
{images} images ({system}). The teacher reads the captions instead. "Words right" is the share of
content keywords that were said, "words found" that of content words that became keywords, and
"repeats" that of keywords that repeat another one."""
_BY_LANGUAGE = {
    "content words named": "content_word_recall",
    "keywords right": "content_word_hit@1",
    "repeated": "duplicate_rate",
}
_DETECTED = {"P@10": "precision_at_10", "in place, of the named": "located_precision"}
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


def retrieval_tables(scores: Mapping) -> list[Table]:
    """recall@k in % and the median rank of every system with intervals, a table per direction."""
    return _tables(scores, _SPEECH_AND_IMAGES)


def speech_text_tables(scores: Mapping) -> list[Table]:
    """Zero-shot retrieval of captions by speech and back, and of others' speech by speech."""
    return _tables(scores, _SPEECH_AND_TEXT)


def language_table(languages: Mapping) -> Table:
    """recall@k in % of searches for images by speech, by the language that is spoken."""
    names = next(name for scores in languages.values() for name in scores.values())
    recalls = [name for name in names if name.startswith("recall@")]
    rows = [
        (language, SYSTEMS[system], *(_percent(found[name]) for name in recalls))
        for language, scores in languages.items()
        for system, found in scores.items()
    ]
    columns = (name.replace("recall@", "R@") for name in recalls)
    return Table(("speech → image", "system", *columns), tuple(rows), text_columns=(0, 1))


def _tables(scores: Mapping, titles: Mapping[str, Sequence[str]]) -> list[Table]:
    found = next(iter(scores["chance"].values()))
    measures = [name for name in found if name.startswith("recall@")] + ["median_rank"]
    columns = [m.replace("recall@", "R@").replace("median_rank", "median rank") for m in measures]
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
    rows = [*_rate_rows(keywords, intervals), *_boundary_rows(keywords)]
    header = ["measure", "% or number", "what"]
    left_out = [keywords.get("left_out", {}).get(row[0].strip("`"), 0) for row in rows]
    if any(left_out):
        header.append("utterances left out")
        rows = [(*row, str(number)) for row, number in zip(rows, left_out, strict=True)]
    if reported := keywords.get("reported"):
        more = [(*row, _reported(row[0].strip("`"), reported)) for row in rows]
        # a limit that keeps all keywords repeats the rates
        if any(row[-1] not in ("", row[1].partition(" (")[0]) for row in more):
            header.append(f"score ≥ {reported['min_score']:g}")
            rows = more
    return Table(tuple(header), tuple(rows), text_columns=(0, 2))


def keyword_language_table(languages: Mapping) -> Table:
    """Keyword rates in % by the language that is spoken, and those of reported keywords."""
    paths = {title: (measure,) for title, measure in _BY_LANGUAGE.items()}
    paths |= {f"{title}, reported": ("reported", m) for title, m in _BY_LANGUAGE.items()}
    paths["boundary F, 50 ms"] = ("boundaries", "f_score")
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


def _rate_rows(keywords: Mapping, intervals: Mapping) -> list[tuple[str, ...]]:
    rows = [
        (f"`{name}`", _percent(keywords[name], intervals.get(name)), meaning)
        for name, meaning in _KEYWORDS
        if keywords.get(name) is not None and not _repeats(name, keywords, intervals)
    ]
    return rows + [
        (f"`{name}`", f"{keywords[name]:.2f}", meaning)
        for name, meaning in _NUMBERS
        if keywords.get(name) is not None
    ]


def _boundary_rows(keywords: Mapping) -> list[tuple[str, ...]]:
    rows = []
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


def _reported(name: str, reported: Mapping) -> str:
    if reported.get(name) is None:
        return ""
    return f"{reported[name]:.2f}" if name.startswith("mean_") else _percent(reported[name])


def comparison_table(models: Mapping[str, Mapping]) -> tuple[Table, str]:
    """Retrieval and reported keywords of models on one set in %, with chance and the teacher.

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
    found.append(("teacher", first["teacher"]["text_to_image"]))
    rows = []
    for name, values in found:
        cells = (values.get(measure) for measure in _COMPARED_COLUMNS.values())
        rows.append((name, *map(_percent_or_dash, cells)))
    table = Table(("in %", *_COMPARED_COLUMNS), tuple(rows))
    return table, _COMPARED.format(system=SYSTEMS[system], images=first["images"])


def warnings_of(scores: Mapping) -> list[str]:
    """One sentence for each system that finds no more images than chance, by its R@10."""
    chance = look_up(scores, ("chance", "speech_to_image", "recall@10"))
    found = []
    for system in ("parallel", "cascaded"):
        recall = look_up(scores, (system, "speech_to_image", "recall@10"))
        interval = look_up(scores, ("intervals", system, "speech_to_image", "recall@10"))
        if recall is not None and interval and interval[0] <= chance < 1:
            found.append(
                f"The {SYSTEMS[system]} finds no more images than chance: its R@10 is "
                f"{_percent(recall, interval)} %, that of a random order {_percent(chance)} %. "
                "Look at the learning curve, and whether recordings and images belong together."
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
    return f"{text} ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def _percent_or_dash(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else _percent(value)


def short_name(system: str) -> str:
    """What a system is called beside a rank."""
    return {"fusion": "both"}.get(system, system)
