"""What pages say of the code, the code says too."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from espnet_plugin.model.cif import fire
from tests.pages import PROJECT

DOCS = PROJECT / "docs"


def load(file: Path) -> ModuleType:
    """A module that is in no package."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quoted_messages() -> list[str]:
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^> `(.*)`$", text, re.MULTILINE)


@cache
def messages() -> tuple[str, ...]:
    """What programs may say: each string of the packages, and each line of a script."""
    found = []
    for package in ("espnet_plugin", "s3prl_upstream"):
        for file in (PROJECT / package).rglob("*.py"):
            found += strings(ast.parse(file.read_text(encoding="utf-8")))
    for script in (PROJECT / "tools", PROJECT / "egs2" / "speechclip_plus"):
        for file in script.glob("*.sh"):
            text = re.sub(r"\$\{\w+\}|\$\w+", "…", file.read_text(encoding="utf-8"))
            found += text.splitlines()
    return tuple(found)


def strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("message", quoted_messages())
def test_a_message_of_the_page_is_one_of_the_code(message: str) -> None:
    # code puts quotes of its own around some values, by their repr
    plain = message.replace("'", "").replace("`", "")
    parts = [re.escape(part) for part in plain.split("…")]
    wanted = re.compile(".*".join(parts))
    said = (text.replace("'", "").replace("`", "") for text in messages())
    assert any(wanted.search(text) for text in said)


def test_messages_name_packages_that_the_project_asks_for() -> None:
    setup = (PROJECT / "setup.cfg").read_text(encoding="utf-8")
    known = {name.lower() for name in re.findall(r"^    ([\w-]+)[>\[]", setup, re.MULTILINE)}
    said = [text for text in messages() if "pip install " in text]
    named = [
        name
        for text in said
        for command in re.findall(r"pip install ((?:[a-z][\w-]*(?: |$))+)", text)
        for name in command.split()
    ]
    assert {"faiss-cpu", "gradio", "espnet-s3prl", "matplotlib"} <= set(named)
    assert {name for name in named if name not in known} <= {"them", "first"}
    # our own name is on no package index, where anybody could register it
    assert not [text for text in said if "pip install 'speechclip" in text]


def load_sweep(name: str) -> dict:
    file = PROJECT / "egs2" / "speechclip_plus" / "results" / name / "sweep.json"
    return json.loads(file.read_text(encoding="utf-8"))


def sweep(name: str) -> dict[str, dict[str, dict[str, float]]]:
    """Measures of each training of each system."""
    return load_sweep(name)["systems"]


def trainings(name: str, system: str) -> dict[str, dict[str, float]]:
    """Measures of each training; today's form and mini-hard's hybrid have sweeps of their own."""
    own = {
        ("mini_annealed", "hybrid_plus_annealed"): "mini_annealed_today",
        ("mini_hard_pairs", "hybrid"): "mini_hard",
    }
    name = own.get((name, system), name)
    return sweep(name)["hybrid_plus_annealed" if system == "first form" else system]


DETAILS = "egs2/speechclip_plus/results/README.md"


def results_page() -> str:
    return (PROJECT / DETAILS).read_text(encoding="utf-8")


def mean(system: str, measure: str, corpus: str) -> float:
    """In %, over the trainings of a system on a corpus; "1" and "2" are mini's."""
    name = {
        "digits": "digits",
        "strangers": "digits_strangers",
        "five": "digits_five",
        "words": "mini_words",
    }.get(corpus, "mini_annealed_corpora")
    found = trainings(name, system).items()
    values = [run[measure] for seed, run in found if "/" not in seed or seed[0] == corpus]
    assert len(values) == (3 if corpus in "12" else 5)
    return 100 * sum(values) / len(values)


def cells(page: str, label: str) -> list[str]:
    """Of a page's first row that begins so."""
    text = (PROJECT / page).read_text("utf-8")
    line = re.findall(rf"^\| {re.escape(label)}.*$", text, re.MULTILINE)[0]
    return [cell.strip().replace("*", "") for cell in line.strip("|").split("|")[1:]]


@pytest.mark.parametrize(
    ("label", "system", "measure"),
    [
        ("Image found first, hybrid+ |", "hybrid_plus", "fusion.speech_to_image.recall@1"),
        ("Image found first, ours", "hybrid_plus_annealed", "fusion.speech_to_image.recall@1"),
        ("Words named, hybrid+ |", "hybrid_plus", "keywords.content_word_recall"),
        ("Words named, ours", "hybrid_plus_annealed", "keywords.content_word_recall"),
        ("Named words that are right, hybrid+ |", "hybrid_plus", "keywords.content_word_hit@1"),
        ("Named words that are right, ours", "hybrid_plus_annealed", "keywords.content_word_hit@1"),
    ],
)
def test_the_readmes_results_are_those_of_the_sweeps(
    label: str, system: str, measure: str
) -> None:
    corpora = ("digits", "strangers", "words", "1", "2")
    means = [mean(system, measure, corpus) for corpus in corpora]
    shown = [float(cell) for cell in cells("README.md", label)]
    assert shown == pytest.approx(means, abs=0.0501)


ONE_PAGE = {  # label → sweep of the papers' first three, of the hybrids and ours
    "digits": "digits",
    "digits, new voices": "digits_strangers",
    "mini": "mini_annealed",
    "mini-words": "mini_words",
    "mini-hard": "mini_hard_pairs",
}
ONE_PAGES_MEASURES = {
    "image found first by keywords": "cascaded.speech_to_image.recall@1",
    "image found first by all branches": "fusion.speech_to_image.recall@1",
    "words named": "keywords.content_word_recall",
    "named words that are right": "keywords.content_word_hit@1",
}


def test_the_one_page_has_the_means_of_the_sweeps() -> None:
    text = (PROJECT / "egs2/speechclip_plus/RESULTS.md").read_text(encoding="utf-8")
    heading, _, *rows = re.findall(r"^\|(.*)\|$", text, re.MULTILINE)
    systems = [SYSTEMS[cell.strip()] for cell in heading.split("|")[2:]]
    corpus, compared = "", 0
    for row in rows:
        first, label, *shown = (cell.strip() for cell in row.split("|"))
        corpus = first or corpus
        for system, cell in zip(systems, shown, strict=True):
            if cell == "–":
                continue
            early = ("parallel", "cascaded", "cascaded_plus")
            name = "mini_sweep" if system in early else ONE_PAGE[corpus]
            runs = list(trainings(name, system).values())
            measure = ONE_PAGES_MEASURES[label]
            if system in early and label == "image found first by all branches":
                branch = "parallel" if system == "parallel" else "cascaded"
                measure = f"{branch}.speech_to_image.recall@1"
            mean = 100 * np.mean([run[measure] for run in runs])
            assert float(cell) == pytest.approx(mean, abs=0.0501), (corpus, label, system)
            compared += 1
    assert compared == 65


SYSTEMS = {
    "parallel": "parallel",
    "cascaded": "cascaded",
    "cascaded+": "cascaded_plus",
    "hybrid": "hybrid",
    "hybrid+": "hybrid_plus",
    "hybrid+ annealed": "hybrid_plus_annealed",
    "annealed": "hybrid_plus_annealed",
    "ours": "hybrid_plus_annealed",
    "first form": "first form",
    "full recipe": "hybrid_plus_annealed",
    "without annealed choice": "hybrid_plus_annealed.hard_choice",
    "without fine segments": "hybrid_plus_annealed.frames_per_keyword_20",
    "without merging": "hybrid_plus_annealed.no_merging",
    "without bank": "hybrid_plus_annealed.no_bank",
    "without neighbours": "hybrid_plus_annealed.no_neighbours",
    "without aligned spans": "hybrid_plus_annealed.fired_spans",
}
MEASURES = {
    "sub-word hit@1": "keywords.subword_hit@1",
    "sub-word hit@5": "keywords.subword_hit@5",
    "content-word hit@1": "keywords.content_word_hit@1",
    "content-word recall": "keywords.content_word_recall",
    "precision": "keywords.precision",
    "duplicates": "keywords.duplicate_rate",
    "boundary F, 50 ms": "keywords.boundaries.f_score",
    "boundary F, 20 ms": "keywords.boundaries_20ms.f_score",
}


def measure_of(label: str) -> str | None:
    """``cascaded → image R@1`` is the recall of a branch, other labels are of keywords."""
    if found := re.fullmatch(r"(\w+) → (\w+) R@(\d+)", label):
        query, answer, k = found.groups()
        branch, direction = (
            (answer, "image_to_speech") if query == "image" else (query, "speech_to_image")
        )
        return f"{'fusion' if branch == 'both' else branch}.{direction}.recall@{k}"
    return MEASURES.get(label)


def result_tables() -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Sweep, heading and rows of each detailed table that a sweep is behind."""
    page = results_page()
    for name, table in re.findall(r"\((\w+)/sweep\.json\)\n\n((?:\|.*\n)+)", page):
        rows = [
            [cell.strip(" *") for cell in line.strip("|").split("|")] for line in table.splitlines()
        ]
        yield name, rows[0], rows[2:]


def test_the_results_are_those_of_the_sweeps() -> None:
    compared = 0
    for name, heading, rows in result_tables():
        for label, *shown in rows:
            if (measure := measure_of(label)) is None:
                assert label.startswith(("keywords per utterance", "training CPU")), label
                continue
            for title, cell in zip(heading[1:], shown, strict=True):
                corpus, _, system = title.rpartition(": ")
                runs = trainings(name, SYSTEMS[system]).items()
                values = [run.get(measure) for seed, run in runs if seed.startswith(corpus)]
                if cell == "–":
                    assert values[0] is None
                    continue
                mean, *deviation = (float(number) for number in cell.split(" ± "))
                assert mean == pytest.approx(100 * np.mean(values), abs=0.0501), (name, label)
                if deviation:
                    assert deviation[0] == pytest.approx(100 * np.std(values, ddof=1), abs=0.0501)
                compared += 1
    assert compared == 272


def test_the_longer_trainings_are_those_of_their_sweep() -> None:
    page = results_page()
    row = r"^\| ([\w+ ]*)\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$"
    rows = re.findall(row, page[page.index("## mini-hard") :], re.M)
    assert len(rows) == 6
    system = ""
    for name, updates, *shown in rows:
        system = SYSTEMS[name.strip()] if name.strip() else system
        longer = "" if updates == "553" else f".updates_{updates.replace(',', '')}"
        (run,) = sweep("mini_hard_longer")[system + longer].values()
        labels = ("content-word recall", "content-word hit@1", "cascaded → image R@1")
        for label, cell in zip(labels, shown, strict=True):
            assert float(cell) == pytest.approx(100 * run[measure_of(label)], abs=0.0501), label


def reports() -> list[dict]:
    """What was reported of trainings whose outputs were not kept."""
    file = PROJECT / "egs2" / "speechclip_plus" / "results" / "reported.json"
    return json.loads(file.read_text(encoding="utf-8"))["reports"]


@pytest.mark.parametrize("report", reports(), ids=lambda report: report["what"][:40])
def test_what_cannot_be_recomputed_is_as_it_was_reported(report: dict) -> None:
    for page in report["pages"]:
        shown = set(re.findall(r"\d+(?:\.\d+)?", (PROJECT / page).read_text(encoding="utf-8")))
        assert {str(n) for row in report["values"].values() for n in row} <= shown


def training_cpu(name: str, corpus: str) -> float:
    """Hybrid+ annealed's mean on a corpus, as a multiple of hybrid+'s."""

    def seconds(system: str) -> float:
        runs = [run for seed, run in sweep(name)[system].items() if seed.startswith(corpus)]
        return np.mean([run["training_cpu_seconds"] for run in runs])

    return seconds("hybrid_plus_annealed") / seconds("hybrid_plus")


def test_the_cost_of_training_is_that_of_the_sweeps() -> None:
    corpora = [training_cpu("mini_annealed_corpora", corpus) for corpus in ("1/", "2/")]
    said = re.search(r"Training takes ([\d.]+) and ([\d.]+) times hybrid\+'s", results_page())
    assert said.groups() == tuple(f"{times:.2f}" for times in corpora)
    (words,) = cells(DETAILS, "training CPU time")[1:]
    assert words == f"{training_cpu('mini_words', ''):.2f}"


def test_what_is_told_apart_on_mini_hard_is_that_of_the_sweep() -> None:
    found = load_sweep("mini_hard_pairs")["hard_negatives"]["hybrid_plus_annealed"]
    systems = ("cascaded", "teacher")
    kinds = [f"{system}, {kind}" for system in systems for kind in ("thing", "colour")]
    said = re.search(
        r"for ([\d.]+) % of the captions;.*?for\s+([\d.]+) %\..*?has ([\d.]+) and ([\d.]+) %\.",
        results_page(),
        re.DOTALL,
    )
    assert said.groups() == tuple(f"{100 * found[kind][0]:.1f}" for kind in kinds)


def test_the_number_of_keywords_is_that_of_the_sweep() -> None:
    counts = load_sweep("mini_sweep")["counts"]
    said = cells(DETAILS, "keywords per utterance")
    names = ("cascaded", "cascaded_plus", "hybrid", "hybrid_plus")
    assert said == ["–", *(f"{counts[name]['keywords'][0]:.1f}" for name in names)]
    correlations = re.search(r"duration ([\d.]+) \(cascaded\+\) and ([\d.]+) ", results_page())
    plus = [counts[name]["r_seconds"][0] for name in ("cascaded_plus", "hybrid_plus")]
    assert correlations.groups() == tuple(f"{value:.2f}" for value in plus)


def test_the_runs_with_many_sub_words_are_those_of_their_sweep() -> None:
    page = results_page()
    text = page[page.index("With a vocabulary of 8,112 sub-words") :]
    (runs,) = sweep("mini_many_rows").values()
    number, r1, recall, hit = re.search(
        r"\[(\w+) runs\].*cascaded R@1 ([\d.]+),\s.*recall ([\d.]+) and\s+hit@1 ([\d.]+)\.", text
    ).groups()
    assert (number, len(runs)) == ("ten", 10)
    labels = ("cascaded → image R@1", "content-word recall", "content-word hit@1")
    for label, shown in zip(labels, (r1, recall, hit), strict=True):
        found = np.mean([run[measure_of(label)] for run in runs.values()])
        assert float(shown) == pytest.approx(100 * found, abs=0.0501), label


def test_the_firing_figure_is_as_the_text_says() -> None:
    """Three words of 20 ms frames with pauses between them; the last is not said to its end."""
    alphas = (
        *(0.05, 0.15, 0.3, 0.35, 0.2, 0.05, 0.0, 0.0),
        *(0.1, 0.3, 0.35, 0.2, 0.05, 0.0, 0.0),
        *(0.1, 0.2, 0.25, 0.1),
    )
    shares, output = fire(torch.tensor([alphas]), tail_threshold=0.5, max_slots=3)
    assert len(alphas) == 19
    assert np.flatnonzero(output.fired[0]).tolist() == [4, 11, 18]
    assert sum(alphas) == pytest.approx(2.75)
    np.testing.assert_allclose(shares[0].sum(dim=1), np.ones(3), rtol=1e-6)
    shared = (shares[0] > 0).sum(dim=0)
    assert np.flatnonzero(shared == 2).tolist() == [4, 11]


def test_every_figure_is_shown() -> None:
    pages = "".join(path.read_text("utf-8") for path in DOCS.glob("*.md"))
    shown = re.findall(r"figures/(\w+\.svg)", pages)
    assert sorted(path.name for path in (DOCS / "figures").iterdir()) == sorted(shown)


def test_every_command_is_listed() -> None:
    page = (DOCS / "api.md").read_text("utf-8")
    listed = re.findall(r"^   espnet_plugin\.bin\.(\w+)$", page, re.MULTILINE)
    assert listed == sorted(path.stem for path in PROJECT.glob("espnet_plugin/bin/[!_]*.py"))


def test_links_between_files_are_links_between_pages() -> None:
    site_links = load(DOCS / "_ext" / "repository.py").site_links
    recipe = "egs2/speechclip_plus/README.md"
    assert site_links("[a](../../docs/parity.md#x)", recipe, "recipe") == "[a](parity.md#x)"
    assert site_links("[a](RESULTS.md)", recipe, "recipe") == "[a](results.md)"
    assert site_links("[a](local/mini/README.md#x)", recipe, "recipe") == "a"
    tutorial = "docs/tutorials/python.md"
    assert site_links("[a](../recipe.md)", tutorial, tutorial[5:-3]) == "[a](../recipe.md)"
    assert site_links("[a](../README.md)", "docs/x.md", "x") == "[a](index.md)"
    assert site_links("![a](overview.svg)", "docs/index.md", "index") == "![a](overview.svg)"
    assert site_links("[a](docs) [b](https://x.y/z) [c](#d)", "README.md", "x") == (
        "a [b](https://x.y/z) [c](#d)"
    )


def test_what_follows_a_pointer_follows_the_file_that_it_shows() -> None:
    repository = load(DOCS / "_ext" / "repository.py")
    app = SimpleNamespace(env=SimpleNamespace(note_dependency=lambda path: None))
    source = ["The site shows it here.\n\nMore.\n"]
    repository._read(app, "changelog", source)
    assert source[0].startswith("# Changelog\n")
    assert source[0].endswith("\n\nMore.\n")
    assert "The site shows it here" not in source[0]


def test_no_line_of_a_page_is_taken_for_a_comment() -> None:
    pages = [*DOCS.rglob("*.md"), *PROJECT.glob("*.md"), *PROJECT.glob("egs?/**/*.md")]
    comments = [
        f"{page.relative_to(PROJECT)}: {line}"  # a percent sign at which a sentence was wrapped
        for page in pages
        if "_build" not in page.parts
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("%")
    ]
    assert not comments


def test_no_table_of_a_page_is_divided() -> None:
    pages = [*DOCS.rglob("*.md"), *PROJECT.glob("*.md"), *PROJECT.glob("egs?/**/*.md")]
    # an empty line between two rows; behind it, another table may begin
    gap = re.compile(r"^\|.*\n\n\|(?!.*\n\|[-:| ]+\n)", re.MULTILINE)
    made = {"_build", "exp"}  # what Sphinx and the recipe write
    divided = [
        page.relative_to(PROJECT).as_posix()
        for page in pages
        if made.isdisjoint(page.parts) and gap.search(page.read_text(encoding="utf-8"))
    ]
    assert not divided


def test_no_page_is_named_as_one_of_sphinxs_own() -> None:
    # Sphinx would write its own over it
    names = {path.stem for path in [*DOCS.glob("*.md"), *DOCS.glob("*.ipynb")]}
    assert not names & {"genindex", "modindex", "py-modindex", "search"}
