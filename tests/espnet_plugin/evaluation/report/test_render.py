from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.evaluation.report.write import write_results
from tests.page_picture import CHROMIUM

VOID = {"meta", "img", "link", "br", "input", "hr"}
DOCS = Path(__file__).parents[4] / "docs" / "concepts.md"
HOSTILE = "a <red> dog & </script><script>alert('x')</script> \"{{ 7 * 7 }}\""


class Checker(html.parser.HTMLParser):
    """Notes the elements; complains about one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.seen)

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.seen if name == tag]


def read_page(inference_dir: Path) -> tuple[Checker, str]:
    text = (inference_dir / "report.html").read_text()
    page = Checker()
    page.feed(text)
    assert not page.open
    return page, text


def headings(page: Path) -> set[str]:
    """The addresses that GitHub and MyST give to a page's headings."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture
def data_dir(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    image_module = pytest.importorskip("PIL.Image")
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", [0.1] * 14400, 16000)
    image_module.new("RGB", (8, 8)).save(data / "p.png")
    names = [f"i{image}" for image in range(6)]
    (data / "image.scp").write_text("".join(f"{name} {data / 'p.png'}\n" for name in names))
    utterances = [f"{name}_{n}" for name in names for n in range(2)]
    (data / "wav.scp").write_text("".join(f"{u} {data / 'a.wav'}\n" for u in utterances))
    (data / "text").write_text("".join(f"{u} {HOSTILE}\n" for u in utterances))
    return data


def test_the_page_holds_everything(inference_dir, data_dir):
    (inference_dir.parent / "config.yaml").write_text("seed: 3\nkeyword_extractor: cif\n")
    (inference_dir.parent / "stage_seconds.json").write_text('{"7": 60}')
    write_results(
        inference_dir,
        data_dir=data_dir,
        figures=False,
    )
    page, text = read_page(inference_dir)
    assert page.count("audio") == page.count("article") == 18  # six images: best, worst, random
    assert {audio["preload"] for audio in page.attributes("audio")} == {"metadata"}
    assert {image["alt"] for image in page.attributes("img")} == {HOSTILE}
    assert page.count("table") == 5  # retrieval, speech and text, keywords
    sources = [attributes["src"] for _, attributes in page.seen if "src" in attributes]
    assert sources and all(source.startswith("data:") for source in sources)
    assert "“a &lt;red&gt; dog &amp; &lt;/script&gt;" in text
    assert "60 seconds in all (stage 7: 60 s)." in text
    assert "<h1>Hybrid+: what it finds and hears</h1>" in text
    assert "set test: 12 utterances, 6 images · seed 3" in text
    order = [text.index(f'<section id="{name}"') for name in ("listen", "retrieval")]
    assert order == sorted(order)
    assert page.count("script") == 0  # none of a caption's
    assert text.count("</strong>R@1<") == 3  # parallel, cascaded, CLIP


def test_no_interval_leaves_0_to_100(inference_dir):
    utterances = (inference_dir / "test" / "utterances.txt").read_text().split()
    lines = (f"{name} r{number // 4}\n" for number, name in enumerate(utterances))
    (inference_dir / "test" / "utt2recordings").write_text("".join(lines))
    write_results(inference_dir, figures=False)
    scores = json.loads((inference_dir / "scores.json").read_text())
    found = scores["intervals"]["parallel"]["speech_to_image"].values()
    assert any(low < 0 or high > 1 for low, high in list(found)[:3])
    _, text = read_page(inference_dir)
    shown = re.findall(r"<em>(-?[\d.]+)–(-?[\d.]+)</em>", text)
    assert shown and all(0 <= float(end) <= 100 for ends in shown for end in ends)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_phone_shows_the_page_whole(inference_dir, data_dir):
    """At 390 pixels nothing is beside the screen, and no table must be scrolled."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    np.save(inference_dir / "test" / "layer_weights.npy", np.full(3, 1 / 3))
    write_results(inference_dir, dev_set="dev", data_dir=data_dir)
    beyond = """[...document.querySelectorAll("body *")].filter((part) =>
      !part.closest(".sc-scroll, svg") && part.getBoundingClientRect().right > 390.5)
      .map((part) => part.outerHTML.slice(0, 80))"""
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto((inference_dir / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.evaluate(beyond) == []
        browser.close()


def test_every_link_leads_somewhere(inference_dir, data_dir, monkeypatch):
    pytest.importorskip("matplotlib")
    style = pytest.importorskip("espnet_plugin.evaluation.figures.style")
    (inference_dir.parent / "no.svg").write_bytes(b"<svg/>")
    monkeypatch.setattr(style, "save", lambda figure, path: inference_dir.parent / "no.svg")
    np.save(inference_dir / "test" / "layer_weights.npy", np.full(3, 1 / 3))
    write_results(inference_dir, data_dir=data_dir)
    page, _ = read_page(inference_dir)
    ids = {attributes["id"] for _, attributes in page.seen if "id" in attributes}
    links = {attributes["href"] for attributes in page.attributes("a")}
    inside = {link.removeprefix("#") for link in links if link.startswith("#")}
    assert inside and inside <= ids
    outside = [link.partition("#") for link in links if not link.startswith("#")]
    assert {(inference_dir / place).resolve() for place, _, _ in outside} == {DOCS}
    assert {heading for _, _, heading in outside} <= headings(DOCS)
    assert page.count("figure") >= 4


def test_without_data_and_keywords(inference_dir):
    (inference_dir / "test" / "keywords.jsonl").unlink()
    write_results(inference_dir, figures=False)
    page, text = read_page(inference_dir)
    assert page.count("audio") == page.count("img") == 0
    assert ("a", {"href": "#keywords"}) not in page.seen
    assert page.count("article") == 18


def test_without_speech_there_is_nothing_to_hear(inference_dir):
    for name in ("speech_parallel.npy", "speech_cascaded.npy", "keywords.jsonl"):
        (inference_dir / "test" / name).unlink()
    write_results(inference_dir, figures=False)
    page, _ = read_page(inference_dir)
    assert page.count("article") == 0


def test_without_a_report_none_of_earlier_scores_stays(inference_dir):
    (inference_dir / "report.html").touch()
    write_results(
        inference_dir,
        figures=False,
        report=False,
    )
    assert not (inference_dir / "report.html").exists()
    assert read_inference_set(inference_dir / "test").images
