from __future__ import annotations

import html.parser
import re

import pytest

from espnet_plugin.evaluation.inference_set import read_inference_set
from espnet_plugin.evaluation.report.results import write_results
from espnet_plugin.evaluation.report.settings import main_settings, shortened

VOID = {"meta", "img", "link", "br", "input", "hr"}


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


@pytest.fixture
def data_dir(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    image_module = pytest.importorskip("PIL.Image")
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", [0.1] * 1600, 16000)
    image_module.new("RGB", (8, 8)).save(data / "p.png")
    names = [f"i{image}" for image in range(6)]
    (data / "image.scp").write_text("".join(f"{name} {data / 'p.png'}\n" for name in names))
    utterances = [f"{name}_{n}" for name in names for n in range(2)]
    (data / "wav.scp").write_text("".join(f"{u} {data / 'a.wav'}\n" for u in utterances))
    (data / "text").write_text("".join(f"{u} a <red> dog & {{{{ 7 * 7 }}}}\n" for u in utterances))
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
    text = (inference_dir / "report.html").read_text()
    page = Checker()
    page.feed(text)
    assert not page.open
    assert page.count("audio") == page.count("article") == 12  # six pictures, best and worst
    assert page.count("table") == 5  # retrieval, speech and text, keywords
    sources = [attributes["src"] for _, attributes in page.seen if "src" in attributes]
    assert sources and all(source.startswith("data:") for source in sources)
    assert not re.search(r'(?:href|src)="(?!#|data:)', text)
    assert "“a &lt;red&gt; dog &amp; {{ 7 * 7 }}”" in text
    assert "… 28 more" in text
    assert "60 seconds in all (stage 7: 60 s)." in text
    assert "hybrid+ · set test: 12 utterances, 6 pictures · seed 3" in text


def test_without_data_and_keywords(inference_dir):
    (inference_dir / "test" / "keywords.jsonl").unlink()
    write_results(inference_dir, figures=False)
    page = Checker()
    page.feed((inference_dir / "report.html").read_text())
    assert page.count("audio") == page.count("img") == 0
    assert ("a", {"href": "#keywords"}) not in page.seen
    assert page.count("article") == 12


def test_no_report(inference_dir):
    write_results(
        inference_dir,
        token_list=inference_dir.parent / "tokens.tsv",
        figures=False,
        report=False,
    )
    assert not (inference_dir / "report.html").exists()
    assert read_inference_set(inference_dir / "test").images


def test_settings():
    config = {
        "speech_encoder": "s3prl",
        "speech_encoder_conf": {"model": "hubert", "checkpoint": None},
        "model_conf": {"parallel": False, "quantity_weight": 0.25},
        "batch_size": 64,
        "accum_grad": 2,
        "optim": "adam",
        "optim_conf": {"lr": 1e-4, "betas": [0.9, 0.98]},
    }
    assert dict(main_settings(config)) == {
        "speech encoder": "s3prl (model hubert)",
        "parallel branch": "no",
        "weights of the losses": "quantity 0.25",
        "batch": "64 utterances × 2 steps",
        "optimiser": "adam (lr 0.0001, betas 0.9 0.98)",
    }


def test_long_lists_are_cut():
    assert shortened({"a": list(range(20)), "b": [1]})["a"][-1] == "… 8 more"
    nested = [["x"]] * 20
    assert shortened(nested) == nested
