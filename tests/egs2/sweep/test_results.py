"""The pages of results say what the studies beside them have."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from local.digits.strings import draw_pictures, draw_strings, picture_path, spoken
from local.sweep.comparisons import holm, paired_t_test

from espnet_plugin import SpeechCLIP
from tests.pages import PROJECT

RECIPE = PROJECT / "egs2" / "speechclip_plus"
DOCS = PROJECT / "docs"
README, OVERVIEW = PROJECT / "README.md", RECIPE / "RESULTS.md"
OURS = "hybrid_plus_annealed"
SYSTEMS = ("hybrid", "hybrid_plus", OURS)
ARCHITECTURES = ("parallel", "cascaded", "cascaded_plus", "hybrid", "hybrid_plus")
FOUND, NAMED, RIGHT = "image first (both)", "words found", "words right"
CASCADED, BOUNDARY_F = "image first (keywords)", "boundary F, 50 ms"
Source = tuple[str, str] | None  # a study and a system in it


@cache
def study(name: str) -> dict:
    return json.loads((RECIPE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def rows(page: str | Path, heading: str, table: int = 0) -> list[list[str]]:
    """Cells of each row but the first two of the table with this number below a heading."""
    text = (RECIPE / "results" / page).read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split(f"\n## {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)
    found = re.findall(r"(?:^\|.*\n)+", section[0], re.MULTILINE)[table]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in found.splitlines()[2:]]


def check(cell: str, source: Source, measure: str) -> None:
    """Compares a cell, ``mean`` or ``mean ± deviation`` in %, with a study."""
    numbers = study(source[0])["systems"].get(source[1], {}).get(measure) if source else None
    shown = [float(number) for number in re.findall(r"\d+\.\d+", cell)]
    keys = ("mean", "deviation")[: len(shown)]
    known = [100 * numbers[key] for key in keys] if numbers else []
    assert shown == pytest.approx(known, abs=0.0501), (cell, source, measure)
    assert bool(shown) == (numbers is not None)


@pytest.mark.parametrize(
    ("page", "heading", "table", "sources"),
    [
        *(
            ("digits.md", heading, 0, [(name, system) for system in SYSTEMS])
            for heading, name in (
                ("Voices of training", "digits"),
                ("New voices", "digits_strangers"),
                ("Longer strings", "digits_five"),
            )
        ),
        ("mini.md", "Five architectures", 0, [("mini_architectures", a) for a in ARCHITECTURES]),
        (
            *("mini.md", "Hybrid+ annealed", 0),
            [(f"mini_corpus{c}", system) for c in (1, 2) for system in SYSTEMS[1:]],
        ),
        (
            *("mini.md", "Hybrid+ annealed", 1),
            [("mini_hybrids", "hybrid"), *(("mini", system) for system in SYSTEMS[1:])],
        ),
    ],
)
def test_tables_of_measures(page: str, heading: str, table: int, sources: list[Source]) -> None:
    found = rows(page, heading, table)
    assert len(found) >= 9
    for measure, *cells in found:
        for cell, source in zip(cells, sources, strict=True):
            check(cell, source, measure)


def test_the_table_of_words_from_a_general_list() -> None:
    source = ("digits_general", f"{OURS}.general")
    for measure, *cells in rows("digits.md", "Words from a general list"):
        for cell, of in zip(cells, ("", ", reported"), strict=True):
            check(cell, source, measure + of)


def test_the_tables_of_mini_babel() -> None:
    measures = (NAMED, RIGHT, "repeats", CASCADED, FOUND, BOUNDARY_F)
    for language, trained, model, *cells in rows("mini_babel.md", "Words and images"):
        alone = {"Swahili": "_sw", "Spanish": "_es"}[language] if trained != "all three" else ""
        name = f"mini_babel{alone}" + "_general" * model.endswith("general")
        system = OURS if "annealed" in model else "hybrid_plus"
        for cell, measure in zip(cells, measures, strict=True):
            check(cell, (name, system), f"{language}: {measure}")
    sources = [("mini_babel", system) for system in SYSTEMS[1:]] + [("mini_babel_general", OURS)]
    for measure, *cells in rows("mini_babel.md", "From one language to another"):
        for cell, source in zip(cells, sources, strict=True):
            check(
                cell, source, f"speech in other languages {measure.partition(' (')[0]} (keywords)"
            )
    for language, tenth, place in rows("mini_babel.md", "Given words"):
        source = ("mini_babel", OURS)
        check(tenth, source, f"{language}: precision at 10 of given words")
        check(place, source, f"{language}: places of named words that are right")


def test_the_overview() -> None:
    studies = {
        "digits": [("digits", system) for system in SYSTEMS],
        "digits, new voices": [("digits_strangers", system) for system in SYSTEMS],
        "mini": [("mini_hybrids", "hybrid"), *(("mini", system) for system in SYSTEMS[1:])],
        "mini 1": [None, *(("mini_corpus1", system) for system in SYSTEMS[1:])],
        "mini 2": [None, *(("mini_corpus2", system) for system in SYSTEMS[1:])],
    }
    sources: list[Source] = []
    for corpus, measure, *cells in rows(OVERVIEW, "The numbers"):
        sources = studies[corpus] if corpus else sources
        for cell, source in zip(cells[3:], sources, strict=True):
            check(cell, source, measure)
        for cell, system in zip(cells[:3], ARCHITECTURES, strict=False):
            first = "image first (utterance)" if system == "parallel" else CASCADED
            own = first if measure == FOUND else measure
            early = ("mini_architectures", system) if sources is studies["mini"] else None
            check(cell, early, own)


def readme_rows() -> list[tuple[str, str, list[str]]]:
    """Study, measure and cells (hybrid+, ours) of each row of README's results."""
    studies = {"digits, new voices": "digits_strangers", "mini 1": "mini_corpus1"}
    studies["mini 2"] = "mini_corpus2"
    found, name = [], ""
    for label, measure, _, *cells in rows(README, "Results"):
        name = studies[label] if label else name
        measure = re.sub(r"^image first of (160|200)$", FOUND, measure)
        measure = re.sub(r"^image first of (1,240)$", rf"{FOUND} among \1 images", measure)
        found.append((name, measure, cells))
    return found


def test_the_readme() -> None:
    assert len(readme_rows()) == 11
    for name, measure, cells in readme_rows():
        for cell, system in zip(cells, SYSTEMS[1:], strict=True):
            check(cell, (name, system), measure)


def corrected(name: str, tests: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """The largest corrected p of each declared comparison, by the second system and measure."""
    found = study(name)["comparisons"]
    columns = [holm([comparison[test] for comparison in found]) for test in tests]
    return {
        (comparison["second"], comparison["measure"]): max(values)
        for comparison, *values in zip(found, *columns, strict=True)
    }


def test_the_readme_has_in_bold_what_is_significant_and_nothing_else() -> None:
    for name, measure, (baseline, ours) in readme_rows():
        p = corrected(name, ("p_images", "p_runs")).get(("hybrid_plus", measure), 1.0)
        level = 0.01 / 3 if "digits" in name else 0.01  # digits has three test sets
        assert ours.startswith("**") == (p < level), (name, measure)
        assert not baseline.startswith("**")


CIF_SENTENCES = [  # measure, what RESULTS.md says, and cascaded+ less cascaded in points
    ("sub-word hit@1", "sub-word hit@1 is 17.1 points higher", 17.1),
    (NAMED, "words found are 7.1 points lower", -7.1),
    (CASCADED, "image first by keywords 3.5.", -3.5),
    (RIGHT, "words right do not differ (86.0 and 85.5 %)", 0.5),
]


@pytest.mark.parametrize(("measure", "sentence", "difference"), CIF_SENTENCES)
def test_what_is_said_of_continuous_integrate_and_fire(
    measure: str, sentence: str, difference: float
) -> None:
    assert sentence in " ".join(OVERVIEW.read_text(encoding="utf-8").lower().split())
    found = [c for c in study("mini_architectures")["comparisons"] if c["first"] == "cascaded_plus"]
    (row,) = [c for c in found if c["measure"] == measure]
    assert 100 * row["difference"] == pytest.approx(difference, abs=0.1)
    tests = [holm([c[test] for c in found])[found.index(row)] for test in ("p_images", "p_runs")]
    assert (max(tests) < 0.05) == (measure != RIGHT)


def test_what_is_said_of_the_leads_on_mini_corpora() -> None:
    text = " ".join(OVERVIEW.read_text(encoding="utf-8").split())
    for measure, sentence in (
        (CASCADED, "p is {} and {} % over trainings"),
        (NAMED, "for words found it is {} and {} %"),
    ):
        p = [corrected(f"mini_corpus{c}", ("p_runs",))["hybrid_plus", measure] for c in (1, 2)]
        assert sentence.format(*(f"{100 * value:.1f}" for value in p)) in text


def test_whether_each_part_pays_is_open() -> None:
    name = "mini_parts"
    found = {(c["first"], c["measure"]): c["p_runs"] for c in study(name)["comparisons"]}
    parts = {
        "annealed choice": "hard_choice",
        "blanks": "no_blanks",
        "repeats' cost": "no_repeat_cost",
        "naming": "no_naming",
        "local attention": "full_attention",
        "fine segments": "frames_per_keyword_20",
        "bank": "no_bank",
        "neighbours": "no_neighbours",
        "aligned spans": "fired_spans",
    }
    raw = [
        found[f"{OURS}.{part}", BOUNDARY_F if part == "fired_spans" else CASCADED]
        for part in parts.values()
    ]
    assert min(holm(raw)) > 0.05
    measures = (CASCADED, FOUND, NAMED, RIGHT, "repeats", BOUNDARY_F)
    whole, *left_out = rows("mini.md", "Parts of hybrid+ annealed")
    for cell, measure in zip(whole[1:7], measures, strict=True):
        check(cell, (name, OURS), measure)
    for (title, *cells), p, held in zip(left_out, raw, holm(raw), strict=True):
        assert [float(cell) for cell in cells[6:]] == pytest.approx([p, held], abs=0.00051)
        for cell, measure in zip(cells, measures, strict=False):
            check(cell, (name, f"{OURS}.{parts[title]}"), measure)


def test_what_is_said_to_be_significant_on_digits_is() -> None:
    runs = dict.fromkeys(("digits", "digits_five"), {BOUNDARY_F, "repeats"})
    runs["digits_strangers"] = {BOUNDARY_F}
    always = {CASCADED, "repeats", BOUNDARY_F}
    others = {"image among ten (keywords)", "speech first (keywords)"}
    images = {
        "digits": always | {NAMED},
        "digits_strangers": always | {FOUND, RIGHT, NAMED} | others,
        "digits_five": always | {FOUND, RIGHT},
    }
    for test, expected in (("p_runs", runs), ("p_images", images)):
        for name, measures in expected.items():
            found = corrected(name, (test,))
            assert {
                m for (who, m), p in found.items() if who == "hybrid_plus" and 3 * p < 0.01
            } == (measures)


@pytest.mark.parametrize("name", sorted(p.stem for p in (RECIPE / "results").glob("*.json")))
def test_a_study_names_its_commit_and_is_shown(name: str) -> None:
    pages = [*(RECIPE / "results").glob("*.md"), DOCS / "speed.md"]
    assert re.fullmatch(r"[0-9a-f]{8}", study(name)["commit"])
    assert any(f"{name}.json)" in page.read_text(encoding="utf-8") for page in pages)


def words(page: Path) -> str:
    """A page's text on one line."""
    return " ".join(page.read_text(encoding="utf-8").split())


def test_what_is_said_of_the_model_in_the_repository() -> None:
    found = study("digits_strangers")["systems"]["models/digits"]
    own, every = (100 * found[FOUND + more]["mean"] for more in ("", " among 1,240 images"))
    assert f"{every:.1f} % find their image first among 1,240" in words(README)
    said = f"{own:.1f} % find their image first among 160, and {every:.1f} % among all 1,240"
    assert said in words(DOCS / "models.md")


def test_the_table_of_the_branch_that_ranks() -> None:
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8").split("### The branch that")[1]
    table = re.findall(r"^\| (?:digits|mini), .*$", text, re.MULTILINE)
    sources = [("digits", "models/digits"), ("digits_strangers", "models/digits")]
    sources += [("mini", system) for system in SYSTEMS[1:]]
    for row, source in zip(table, sources, strict=True):
        _, _, *cells, _ = (cell.strip() for cell in row.split("|")[1:-1])
        for cell, name in zip(cells, ("utterance", "keywords", "both"), strict=True):
            own, *every = cell.split("; ")
            check(own, source, f"image first ({name})")
            if every:
                check(every[0], source, f"image first ({name}) among 1,240 images")
            assert bool(every) == (source[1] == "models/digits")


def test_the_table_of_superbs_tasks_on_digits() -> None:
    text = (DOCS / "encoder.md").read_text(encoding="utf-8")
    table = re.findall(
        r"^\| (KS|SID|PR), [^|]*\(\d+ \w+\) \|(.*)\|(.*)\|(.*)\|$", text, re.MULTILINE
    )
    scores = study("digits_superb")["scores"]
    upstreams = ("speechclip_plus", "speechclip_plus_encoder")
    for task, *cells, p in table:
        heads = [np.array(scores[task][name]) for name in upstreams]
        assert all(len(values) == len(scores[task]["seeds"]) == 5 for values in heads)
        for cell, values in zip(cells, heads, strict=True):
            shown = [float(number) for number in cell.split("±")]
            assert shown == pytest.approx([values.mean(), values.std(ddof=1)], abs=0.0501)
        assert float(p) == pytest.approx(paired_t_test(heads[0] - heads[1]), abs=0.0051)
    assert [row[0] for row in table] == ["KS", "SID", "PR"]
    fast = [np.array(scores["PR, SUPERB's rate"][name]) for name in upstreams]
    assert [int((values > 50).sum()) for values in fast] == [2, 3]
    assert "two with the block and three without" in text


def test_what_is_said_of_the_cost_of_training() -> None:
    base, ours = (study("digits")["systems"][s]["training CPU, s"]["mean"] for s in SYSTEMS[1:])
    said = f"{ours / base:.2f} times hybrid+'s CPU time"
    assert said in words(RECIPE / "results" / "digits.md")


def test_how_often_the_clip_of_the_repositorys_model_finds_the_image_of_a_caption(
    tmp_path: Path,
) -> None:
    model = SpeechCLIP.from_pretrained(RECIPE / "models" / "digits")
    strings = {**draw_strings(0), "train": [], "dev": []}
    (tmp_path / "images").mkdir()
    draw_pictures(strings, tmp_path, seed=0)
    for part, name in (("test", "digits"), ("five", "digits_five")):
        images = model.encode_image([picture_path(tmp_path, part, s) for s in strings[part]])
        texts = model.encode_text([spoken(string) for string in strings[part]])
        first = model.similarity(texts, images).argmax(axis=1)
        scores = study(name)["systems"]["models/digits"]
        found = scores["image first (CLIP reading the caption)"]["mean"]
        assert (first == np.arange(len(first))).mean() == pytest.approx(found)
