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
from local.sweep.runs import MEASURES, title_of

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


def key_of(title: str) -> str:
    """The key in a study of a measure that a table names; the table may limit it to a part."""
    known = {title_of(measure): measure for measure in MEASURES}
    (begin,) = [name for name in known if title.startswith(name)]
    return known[begin] + title.removeprefix(begin).replace(", among", " among")


def check(cell: str, source: Source, measure: str) -> None:
    """Compares a cell, ``mean`` or ``mean ± deviation`` in %, with a study."""
    numbers = study(source[0])["systems"].get(source[1], {}).get(measure) if source else None
    shown = [float(number) for number in re.findall(r"\d+\.\d+", cell)]
    keys = ("mean", "deviation")[: len(shown)]
    known = [100 * numbers[key] for key in keys] if numbers else []
    assert shown == pytest.approx(known, abs=0.0501), (cell, source, measure)
    assert bool(shown) == (numbers is not None)


@pytest.mark.parametrize(
    ("page", "heading", "count", "sources"),
    [
        (
            *("digits.md", "Measures", 10),
            [
                (name, system)
                for name in ("digits", "digits_strangers", "digits_five")
                for system in SYSTEMS[1:]
            ],
        ),
        ("mini.md", "Five architectures", 8, [("mini_architectures", a) for a in ARCHITECTURES]),
        (
            *("mini.md", "Hybrid+ annealed", 5),
            [
                ("mini_hybrids", "hybrid"),
                *(
                    (name, system)
                    for name in ("mini", "mini_corpus1", "mini_corpus2")
                    for system in SYSTEMS[1:]
                ),
            ],
        ),
    ],
)
def test_tables_of_measures(page: str, heading: str, count: int, sources: list[Source]) -> None:
    found = rows(page, heading)
    assert len(found) == count
    for measure, *cells in found:
        for cell, source in zip(cells, sources, strict=True):
            check(cell, source, key_of(measure))


def test_the_table_of_words_from_a_general_list() -> None:
    source = ("digits_general", f"{OURS}.general")
    for measure, *cells in rows("digits.md", "Words from a general list"):
        for cell, of in zip(cells, ("", ", reported"), strict=True):
            check(cell, source, key_of(measure) + of)


def test_what_is_said_of_hybrid_on_digits() -> None:
    said = words(RECIPE / "results" / "digits.md").partition("**Hybrid** varies")[2]
    own = study("digits_strangers")["systems"]["hybrid"]
    for measure in (CASCADED, FOUND, f"{FOUND} among 1,240 images"):
        shown = " ± ".join(f"{100 * own[measure][key]:.1f}" for key in ("mean", "deviation"))
        assert shown in said


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
        rank = {"R@1": "first", "R@10": "among ten"}[measure]
        for cell, source in zip(cells, sources, strict=True):
            check(cell, source, f"speech in other languages {rank} (keywords)")
    for language, *cells in rows("mini_babel.md", "Given words"):
        sources = [("mini_babel", system) for system in SYSTEMS[1:]]
        for cell, source in zip(cells[:2], sources, strict=True):
            check(cell, source, f"{language}: precision at 10 of given words")
        for cell, source in zip(cells[2:], sources, strict=True):
            check(cell, source, f"{language}: places of named words that are right")


def test_the_overview() -> None:
    studies = {
        "digits": [("digits", system) for system in SYSTEMS],
        "digits, unseen speakers": [("digits_strangers", system) for system in SYSTEMS],
        "mini": [("mini_hybrids", "hybrid"), *(("mini", system) for system in SYSTEMS[1:])],
        "mini-1": [None, *(("mini_corpus1", system) for system in SYSTEMS[1:])],
        "mini-2": [None, *(("mini_corpus2", system) for system in SYSTEMS[1:])],
    }
    sources: list[Source] = []
    table = rows(OVERVIEW, "The numbers")
    assert len(table) == 20
    for corpus, measure, *cells in table:
        sources = studies[corpus] if corpus else sources
        for cell, source in zip(cells, sources, strict=True):
            check(cell, source, key_of(measure))


def readme_rows() -> list[tuple[str, str, list[str]]]:
    """Study, measure and cells (hybrid+, ours) of each row of README's results."""
    studies = {"digits, unseen speakers": "digits_strangers", "mini-1": "mini_corpus1"}
    studies["mini-2"] = "mini_corpus2"
    found, name = [], ""
    for label, measure, _, *cells in rows(README, "Results"):
        name = studies[label] if label else name
        measure = re.sub("^R@1", "R@1 (speech → image), fusion,", measure)
        measure = re.sub(", among (160|200) images$", "", measure)
        found.append((name, key_of(measure), cells))
    return found


def test_the_readme() -> None:
    assert len(readme_rows()) == 6
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
    (NAMED, "keyword recall is 7.1 points lower", -7.1),
    (CASCADED, "r@1 (speech → image) 3.5.", -3.5),
    (RIGHT, "keyword precision does not differ (86.0 and 85.5 %)", 0.5),
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
        (CASCADED, "p is {:.1f} and {:.1f} % over trainings"),
        (NAMED, "For keyword recall it is {:.2f} and {:.2f} %"),
        (FOUND, "for R@1 by fusion {:.2f} and {:.2f} %"),
    ):
        p = [corrected(f"mini_corpus{c}", ("p_runs",))["hybrid_plus", measure] for c in (1, 2)]
        assert sentence.format(*(100 * value for value in p)) in text


def test_whether_each_part_pays_is_open() -> None:
    name = "mini_parts"
    found = {(c["first"], c["measure"]): c["p_runs"] for c in study(name)["comparisons"]}
    parts = {
        "annealed choice": "hard_choice",
        "blanks": "no_blanks",
        "cost of repeats": "no_repeat_cost",
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
    measures = (CASCADED, RIGHT, "repeats", BOUNDARY_F)
    whole, *left_out = rows("mini.md", "Parts of hybrid+ annealed")
    for cell, measure in zip(whole[1:5], measures, strict=True):
        check(cell, (name, OURS), measure)
    said = words(RECIPE / "results" / "mini.md").partition("Before the correction")[2]
    for (title, *cells), p, held in zip(left_out, raw, holm(raw), strict=True):
        assert float(cells[4]) == pytest.approx(held, abs=0.00051)
        assert (f"{title} ({p:.3f})" in said) == (p < 0.05)
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
    said = f"is {own:.1f} % among 160 images (chance: 0.6 %) and {every:.1f} % among 1,240 (0.1 %)"
    assert said in words(RECIPE / "models" / "digits" / "README.md")


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
    text = (RECIPE / "results" / "digits.md").read_text(encoding="utf-8")
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
    assert "two with the trained part and three without" in text


def test_what_is_said_of_the_cost_of_training() -> None:
    base, ours = (study("digits")["systems"][s]["training CPU, s"]["mean"] for s in SYSTEMS[1:])
    said = f"{ours / base:.2f} times the CPU time of hybrid+"
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
