from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest

from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.evaluation.report.results import write_results

VOID = {"meta", "img", "link", "br", "input", "hr"}
DOCS = Path(__file__).parents[4] / "docs" / "evaluation.md"
HOSTILE = "a <red> dog & </script><script>alert('x')</script> \"{{ 7 * 7 }}\""


class Checker(html.parser.HTMLParser):
    """Notes the elements; complains about one that is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict]] = []
        self.listing: dict | None = None

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"] and self.seen[-1][1].get("id") == "utterances":
            self.listing = json.loads(data)

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
    (inference_dir.parent / "config.yaml").write_text(
        "seed: 3\nkeyword_extractor: cif\nkeyword_vocabulary: [" + "7, " * 40 + "]\n"
    )
    (inference_dir.parent / "stage_seconds.json").write_text('{"7": 60}')
    write_results(
        inference_dir,
        token_list=inference_dir.parent / "tokens.tsv",
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
    assert "… 28 more" in text and text.count("keyword_extractor: cif") == 2
    assert "60 seconds in all (stage 7: 60 s)." in text
    assert "hybrid+ · set test: 12 utterances, 6 images · seed 3" in text
    order = [text.index(f'<section id="{name}"') for name in ("listen", "search", "retrieval")]
    assert order == sorted(order)
    assert page.count("script") == 2  # the list and the page's own; none of a caption's
    assert text.count("</strong>R@1<") == 3  # parallel, cascaded, teacher


def test_every_link_leads_somewhere(inference_dir, data_dir, monkeypatch):
    pytest.importorskip("matplotlib")
    style = pytest.importorskip("espnet_plugin.evaluation.figures.style")
    (inference_dir.parent / "no.png").write_bytes(b"png")
    monkeypatch.setattr(style, "save", lambda figure, path: inference_dir.parent / "no.png")
    write_results(inference_dir, token_list=inference_dir.parent / "tokens.tsv", data_dir=data_dir)
    page, _ = read_page(inference_dir)
    ids = {attributes["id"] for _, attributes in page.seen if "id" in attributes}
    links = {attributes["href"] for attributes in page.attributes("a")}
    inside = {link.removeprefix("#") for link in links if link.startswith("#")}
    assert inside and inside <= ids
    outside = [link.partition("#") for link in links if not link.startswith("#")]
    assert {(inference_dir / place).resolve() for place, _, _ in outside} == {DOCS}
    assert {heading for _, _, heading in outside} <= headings(DOCS)
    assert page.count("figure") >= 4


def test_the_search_lists_all_utterances(inference_dir, data_dir):
    write_results(
        inference_dir,
        token_list=inference_dir.parent / "tokens.tsv",
        data_dir=data_dir,
        figures=False,
    )
    page, text = read_page(inference_dir)
    listing = page.listing
    data = read_inference_set(inference_dir / "test")
    assert [row[0] for row in listing["rows"]] == list(data.utterances)
    assert {row[1] for row in listing["rows"]} == {HOSTILE}
    assert listing["systems"] == ["parallel", "cascaded"]
    assert listing["keywords"] == [["red", "right"], ["cat", "wrong"]]
    for row, entry in enumerate(listing["rows"]):
        transcript, recording, ranks, right, cosine, found, cosines, words = entry[2:]
        similarity = data.image @ data.parallel[row]
        assert data.images[right] == data.image_of[row]
        assert cosine == round(100 * similarity[right])
        assert cosines == sorted(cosines, reverse=True) and len(found) == 5
        assert ranks[0] == 1 + sum(similarity > similarity[right])
        assert (transcript, words) == (0, [0, 0, 1])
        assert (inference_dir / listing["folder"] / recording).is_file()
    for image, caption, file in listing["images"]:
        assert image in data.images and caption == HOSTILE
        assert (inference_dir / listing["folder"] / file).is_file()
    assert "All can be heard." in text


def test_large_sets_are_thinned_out_and_it_is_said(inference_dir, data_dir, monkeypatch):
    module = "espnet_plugin.evaluation.report.utterance_list"
    monkeypatch.setattr(f"{module}.MAX_UTTERANCES", 4)
    monkeypatch.setattr(f"{module}.MAX_RECORDINGS", 2)
    write_results(
        inference_dir,
        token_list=inference_dir.parent / "tokens.tsv",
        data_dir=data_dir,
        figures=False,
    )
    page, text = read_page(inference_dir)
    assert [row[0] for row in page.listing["rows"]] == ["i0_0", "i1_1", "i3_0", "i4_1"]
    assert [bool(row[3]) for row in page.listing["rows"]] == [True, False, True, False]
    assert "4 of the set’s 12 utterances are listed, at even distances. 2 of them can be" in text


def test_without_data_and_keywords(inference_dir):
    (inference_dir / "test" / "keywords.jsonl").unlink()
    write_results(inference_dir, figures=False)
    page, text = read_page(inference_dir)
    assert page.count("audio") == page.count("img") == 0
    assert ("a", {"href": "#keywords"}) not in page.seen
    assert page.count("article") == 18
    assert "the recordings are missing" in text
    assert not (inference_dir / "report_media").exists()


def test_without_speech_there_is_nothing_to_search(inference_dir):
    for name in ("speech_parallel.npy", "speech_cascaded.npy", "keywords.jsonl"):
        (inference_dir / "test" / name).unlink()
    write_results(inference_dir, figures=False)
    page, _ = read_page(inference_dir)
    assert page.listing is None and page.count("article") == page.count("form") == 0


def test_without_a_report_none_of_earlier_scores_stays(inference_dir):
    (inference_dir / "report.html").touch()
    write_results(
        inference_dir,
        token_list=inference_dir.parent / "tokens.tsv",
        figures=False,
        report=False,
    )
    assert not (inference_dir / "report.html").exists()
    assert read_inference_set(inference_dir / "test").images
