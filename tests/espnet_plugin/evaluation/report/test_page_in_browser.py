"""The page in headless Chromium, from the disk: what a reader does, by keyboard and mouse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from espnet_plugin.evaluation.report.results import write_results
from tests.espnet_plugin.evaluation.conftest import keyword_record, write_set

playwright = pytest.importorskip("playwright.sync_api")
soundfile = pytest.importorskip("soundfile")
image_module = pytest.importorskip("PIL.Image")
pytest.importorskip("matplotlib")
NAMES = ("chromium", "chromium-browser", "google-chrome")
playwright.expect.set_options(timeout=30_000)
CHROMIUM = next((path for path in map(shutil.which, NAMES) if path), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
PATIENCE = 120_000  # milliseconds, for a busy computer
HOSTILE = "<img src=x onerror=document.title='taken'>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("page")
    test = write_set(root / "exp" / "inference" / "test", noise=3.0)
    data = root / "data"
    data.mkdir()
    tone = 0.2 * np.sin(np.arange(14400) / 9)
    utterances = (test / "utterances.txt").read_text().split()
    with (test / "keywords.jsonl").open("w") as stream:
        for number, utterance in enumerate(utterances):
            soundfile.write(data / f"{utterance}.wav", tone, 16000)
            record = keyword_record(utterance) | {"caption": f"caption no{number}. {HOSTILE}"}
            if number == 3:
                record["keywords"] = record["keywords"][:1]
            stream.write(json.dumps(record) + "\n")
    (data / "wav.scp").write_text("".join(f"{u} {data / u}.wav\n" for u in utterances))
    for number in range(6):
        image_module.new("RGB", (24, 24), (40 * number, 90, 60)).save(data / f"i{number}.png")
    images = "".join(f"i{number} {data}/i{number}.png\n" for number in range(6))
    (data / "image.scp").write_text(images)
    tokens = root / "tokens.tsv"
    tokens.write_text("1\ta</w>\n2\tred</w>\n3\tdog</w>\n4\trun\n5\ts</w>\n6\tcat</w>\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("espnet_plugin.evaluation.report.figures.FIRINGS", 1)
        write_results(test.parent, data_dir=data, token_list=tokens)
    return test.parent / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(browser, report) -> Iterator:
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme="dark")
    page.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(report.as_uri())
    yield page
    assert page.title() == "exp" and not complaints
    assert {url.partition(":")[0] for url in urls} <= {"file", "data"}
    page.close()


def test_search_filter_and_order(page):
    results, count = page.locator("#results article"), page.locator("#count")
    assert results.count() == 10 and count.inner_text() == "12 of 12 utterances"
    page.get_by_role("button", name="Show 10 more").press("Enter")
    assert results.count() == 12
    assert results.nth(10).evaluate("row => row === document.activeElement")
    page.locator("nav a", has_text="Search").press("Enter")
    page.get_by_label("words of caption").fill("NO3. caption")
    playwright.expect(count).to_have_text("1 of 12 utterances")
    assert HOSTILE in results.first.inner_text()
    page.get_by_label("words of caption").fill("")
    page.locator("#filters [name=keywords]").select_option("repeated")
    playwright.expect(count).to_have_text("11 of 12 utterances")
    page.locator("#filters [name=rank]").select_option("first")
    page.locator("#filters [name=system]").select_option("1")
    playwright.expect(count).not_to_have_text("11 of 12 utterances")
    ranks = results.locator(".ranks span:nth-child(2) b").all_inner_texts()
    assert set(ranks) == {"1"} and 0 < len(ranks) < 11
    page.locator("#filters [name=rank]").select_option("all")
    page.locator("#filters [name=order]").select_option("worst")
    playwright.expect(count).to_have_text("11 of 12 utterances")
    shown = results.locator(".ranks span:nth-child(2) b")
    playwright.expect(shown.first).to_have_text("5")  # the page sorts after it counts
    ranks = [int(rank) for rank in shown.all_inner_texts()]
    assert ranks == sorted(ranks, reverse=True)
    results.first.locator("button", has_text="cat").click()
    playwright.expect(page.get_by_label("words of caption")).to_have_value("cat")


def test_players_know_their_length_and_move_the_cursor(page):
    figure = page.locator("#firing_1")
    figure.scroll_into_view_if_needed()
    player = figure.locator("audio")
    page.wait_for_function("document.querySelector('#firing_1 audio').duration > 0.85")
    place = "parseFloat(document.querySelector('#firing_1 .cursor').style.left)"
    canvas = figure.locator(".canvas")
    left, right = (float(canvas.get_attribute(f"data-{side}")) for side in ("left", "right"))
    assert page.evaluate(place) == pytest.approx(100 * left, abs=0.01)
    player.evaluate("player => player.play()")
    page.wait_for_function(f"{place} > {100 * left + 5}")
    page.locator("#listen audio").first.evaluate("player => player.play()")
    assert player.evaluate("player => player.paused")  # one plays at a time
    width = canvas.bounding_box()["width"]
    canvas.click(position={"x": width * (left + right) / 2, "y": 40})
    page.wait_for_function(f"{place} >= {50 * (left + right) - 0.1}")


def test_a_phone_scrolls_figures_and_not_the_page(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    box = page.locator("#firing_1 img").bounding_box()
    assert box["width"] >= 700
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 25)"


def test_without_its_folder_the_page_says_what_is_missing(browser, report, tmp_path):
    shutil.copy(report, tmp_path)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto((tmp_path / "report.html").as_uri())
    alone = page.locator("#results article").first
    playwright.expect(alone).to_contain_text("report_media/, which is not next to this page")
    assert page.locator("#listen audio").count() == 18
    page.close()
