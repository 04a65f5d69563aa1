"""Composes ``report.html`` from scores, figures and queries."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from pathlib import Path

from espnet_plugin.evaluation.keyword_file import UtteranceKeywords
from espnet_plugin.evaluation.report import tables
from espnet_plugin.evaluation.report.media import audio_uri, figure_uri, picture_uri
from espnet_plugin.evaluation.report.queries import Query
from espnet_plugin.evaluation.report.tables import Table
from espnet_plugin.evaluation.token_texts import END_OF_WORD, is_content

TEMPLATE = "template.html"
_SYSTEM_NAMES = {
    "parallel": "parallel",
    "cascaded": "cascaded",
    "fusion": "both",
    "asr": "transcript",
}


@dataclass(frozen=True)
class Material:
    """Where a set's recordings and pictures lie and what was said, each by id; may be empty."""

    audio: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    captions: Mapping[str, str] = field(default_factory=dict)
    transcripts: Mapping[str, str] = field(default_factory=dict)
    keywords: Mapping[str, UtteranceKeywords] = field(default_factory=dict)


def compose(
    scores: Mapping,
    *,
    title: str,
    config: Mapping,
    figures: Mapping[str, Path],
    best: Sequence[Query],
    worst: Sequence[Query],
    material: Material,
) -> str:
    """Fills the template.

    Args:
        scores: Content of scores.json.
        title: Name of the experiment.
        config: Its config.yaml; may be empty.
        figures: Caption → PNG, with an SVG beside it.
        best: Queries found best.
        worst: Queries found worst.
        material: Recordings, pictures and texts.
    """
    template = resources.files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8")
    return string.Template(template).substitute(
        title=escape(title),
        subtitle=escape(
            f"{scores['architecture']} · set {scores['test_set']}: {scores['utterances']:,} "
            f"utterances, {scores['images']:,} pictures · seed {scores['seed']}"
        ),
        tiles=_tiles(scores),
        retrieval=_retrieval(scores),
        keywords=_keywords(scores),
        keywords_link='<a href="#keywords">Keywords</a>' if "keywords" in scores else "",
        figures="".join(_figure(*item) for item in figures.items())
        or '<p class="note">No figures were drawn.</p>',
        best=_queries(best, material),
        worst=_queries(worst, material),
        legend=_LEGEND if material.keywords else "",
        configuration=_configuration(config),
        times=_times(scores),
        environment=escape(", ".join(f"{k} {v}" for k, v in scores["environment"].items())),
    )


_LEGEND = (
    '<p class="legend">Keywords: <span class="chip content hit">content word of the caption</span> '
    '<span class="chip hit">function word of it</span> '
    '<span class="chip content">not in the caption</span> '
    '<span class="chip">function word, not in it</span></p>'
)


def _tiles(scores: Mapping) -> str:
    tiles = []
    for system, name in (
        ("parallel", "parallel branch"),
        ("cascaded", "cascaded branch"),
        ("asr", "recogniser"),
    ):
        if "speech_to_image" in scores.get(system, {}):
            label = f"R@10 speech → image, {name}"
            tiles.append(_tile(scores, (system, "speech_to_image", "recall@10"), label))
    if "teacher" in scores:
        label = "R@10 text → image, teacher"
        tiles.append(_tile(scores, ("teacher", "text_to_image", "recall@10"), label))
    for measure, label in (
        ("content_word_hit@1", "content keywords in the caption"),
        ("duplicate_rate", "repeated keywords"),
    ):
        tiles.append(_tile(scores, ("keywords", measure), label))
    return "".join(tiles)


def _tile(scores: Mapping, keys: Sequence[str], label: str) -> str:
    value = tables.look_up(scores, keys)
    if value is None:
        return ""
    interval = tables.look_up(scores.get("intervals", {}), keys)
    chance = tables.look_up(scores.get("chance", {}), keys[1:])
    notes = []
    if interval and interval[0] is not None:
        notes.append(f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}")
    if chance is not None:
        notes.append(f"chance {100 * chance:.1f}")
    return (
        f'<div class="tile"><strong>{100 * value:.1f}<small>%</small></strong>'
        f"<span>{escape(label)}</span><em>{escape(' · '.join(notes))}</em></div>"
    )


def _retrieval(scores: Mapping) -> str:
    parts = [_table(table, bars=True) for table in tables.retrieval_tables(scores)]
    weight = scores.get("fusion", {}).get("weight_of_parallel")
    if weight is not None:
        parts.append(
            f'<p class="note">Both branches: {weight:g} × parallel + {1 - weight:g} × cascaded, '
            "chosen on dev.</p>"
        )
    rate = scores.get("asr", {}).get("word_error_rate")
    if rate is not None:
        parts.append(f'<p class="note">Recogniser: {100 * rate:.1f} % word errors.</p>')
    speech_text = tables.speech_text_tables(scores)
    if speech_text:
        parts.append("<h3>Zero-shot, speech and text</h3>")
        parts += [_table(table, bars=True) for table in speech_text]
    return "".join(parts)


def _keywords(scores: Mapping) -> str:
    if "keywords" not in scores:
        return ""
    intervals = scores.get("intervals", {}).get("keywords", {})
    table = tables.keyword_table(scores["keywords"], intervals)
    rows = tuple((f"{name}\n{what}", value, left) for name, value, what, left in table.rows)
    narrow = Table(("measure", "% or number", "left out"), rows)  # readable on a telephone, too
    return f'<section id="keywords"><h2>Keywords</h2>{_table(narrow)}</section>'


def _table(table: Table, *, bars: bool = False) -> str:
    head = "".join(
        f"<th{'' if c in table.text_columns else _NUMBER}>{escape(title)}</th>"
        for c, title in enumerate(table.header)
    )
    body = []
    for row in table.rows:
        cells = []
        for column, cell in enumerate(row):
            if column in table.text_columns:
                cells.append(f"<td>{_words(cell)}</td>")
            else:
                bar = bars and "rank" not in table.header[column]
                cells.append(_number(cell, bar=bar))
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table{_EVEN if bars else ""}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


_NUMBER = ' class="number"'
_EVEN = ' class="even"'


def _words(cell: str) -> str:
    name, _, note = cell.partition("\n")
    text = escape(name)
    if name.startswith("`") and name.endswith("`"):
        text = f"<code>{escape(name.strip('`'))}</code>"
    return text + (f"<small>{escape(note)}</small>" if note else "")


def _number(cell: str, *, bar: bool) -> str:
    value, _, interval = cell.partition(" (")
    small = f"<small>{escape(interval.rstrip(')'))}</small>" if interval else ""
    track = f'<span class="track"><i style="width:{float(value):.1f}%"></i></span>' if bar else ""
    return f'<td class="number">{escape(value)}{small}{track}</td>'


def _figure(caption: str, png: Path) -> str:
    return (
        f'<figure><figcaption>{escape(caption)}</figcaption><img src="{figure_uri(png)}" '
        f'alt="{escape(caption)}"></figure>'
    )


def _queries(queries: Iterable[Query], material: Material) -> str:
    return "".join(_query(query, material) for query in queries) or '<p class="note">None.</p>'


def _query(query: Query, material: Material) -> str:
    utterance = query.utterance
    caption = material.captions.get(utterance)
    text = f"“{escape(caption)}”" if caption else escape(utterance)
    source = audio_uri(material.audio[utterance]) if utterance in material.audio else None
    player = f'<audio controls preload="none" src="{source}"></audio>' if source else ""
    heard = ""
    if utterance in material.transcripts:
        heard = f'<p class="heard">recogniser: “{escape(material.transcripts[utterance])}”</p>'
    ranks = "".join(
        f"<span>{_SYSTEM_NAMES.get(system, system)} <b>{rank}</b></span>"
        for system, rank in query.ranks.items()
    )
    pictures = [
        _picture(found.image, found.score, place, query, material)
        for place, found in enumerate(query.found, 1)
    ]
    if all(found.image != query.right.image for found in query.found):
        rank = query.ranks[query.branch]
        pictures.append('<li class="gap" aria-hidden="true">…</li>')
        pictures.append(_picture(query.right.image, query.right.score, rank, query, material))
    return (
        f'<article class="query"><header><p class="said">{text}</p>{player}'
        f'<p class="ranks">right picture’s rank:{ranks}</p>'
        f"{heard}{_chips(utterance, material)}</header>"
        f'<ol class="pictures">{"".join(pictures)}</ol></article>'
    )


def _picture(image: str, score: float, place: int, query: Query, material: Material) -> str:
    right = image == query.right.image
    source = picture_uri(material.pictures[image]) if image in material.pictures else None
    shown = (
        f'<img src="{source}" alt="{escape(image)}" title="{escape(image)}">'
        if source
        else f'<span class="nopicture">{escape(image)}</span>'
    )
    mark = ' <b aria-label="right picture">✔</b>' if right else ""
    return (
        f"<li{' class=' + chr(34) + 'right' + chr(34) if right else ''}>{shown}"
        f"<small>{place}: {score:.2f}{mark}</small></li>".replace(": -", ": −")
    )


def _chips(utterance: str, material: Material) -> str:
    entry = material.keywords.get(utterance)
    if entry is None:
        return ""
    caption = set(entry.caption_ids)
    chips = []
    for keyword in entry.keywords:
        kind = "chip"
        kind += " content" if is_content(keyword.token) else ""
        kind += " hit" if keyword.token_id in caption else ""
        text = escape(keyword.token.removesuffix(END_OF_WORD))
        chips.append(f'<span class="{kind}">{text}</span>')
    return f'<p class="chips">{" ".join(chips)}</p>'


def _configuration(config: Mapping) -> str:
    if not config:
        return '<p class="note">The experiment has no config.yaml.</p>'
    import yaml

    from espnet_plugin.evaluation.report.settings import main_settings, shortened

    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in main_settings(config)
    )
    text = yaml.safe_dump(shortened(config), sort_keys=True, allow_unicode=True)
    return (
        f"<dl>{rows}</dl><details><summary>the whole config.yaml</summary>"
        f"<pre>{escape(text)}</pre></details>"
    )


def _times(scores: Mapping) -> str:
    seconds = scores.get("seconds") or {}
    if not seconds:
        return ""
    total = sum(seconds.values())
    parts = ", ".join(f"stage {stage}: {value:.0f} s" for stage, value in seconds.items())
    return f"<p>{total:.0f} seconds in all ({escape(parts)}).</p>"
