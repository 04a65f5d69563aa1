"""The page as a visitor sees it, in headless Chromium."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.espnet_plugin.apps.demo.conftest import Served
from tests.page_picture import ANSWERED, CHROMIUM, LOADED, MARGIN, WINDOW, take_picture
from tests.sounds import murmur

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


RATE = 16000
# settings of each microphone that the page opens
SPY = """
const listen = MediaDevices.prototype.getUserMedia;
window.opened = [];
MediaDevices.prototype.getUserMedia = async function (wanted) {
  const stream = await listen.call(this, wanted);
  window.opened.push(stream.getAudioTracks()[0].getSettings());
  return stream;
};
"""


@pytest.fixture(scope="module")
def hiss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the microphone hears: steady noise, which browsers take out of calls."""
    path = tmp_path_factory.mktemp("microphone") / "hiss.wav"
    soundfile.write(path, 0.5 * murmur(20 * RATE), RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(hiss: Path) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={hiss}",
    ]
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (390, "light"), (1280, "dark")], ids=str
)
def test_a_recording_finds_pictures_and_a_picture_its_captions(
    served: Served, browser: Any, width: int, scheme: str, tmp_path: Path
) -> None:
    """Screenshots go to ``SPEECHCLIP_SCREENSHOTS``, if that is set."""
    pictures = Path(os.environ.get("SPEECHCLIP_SCREENSHOTS", tmp_path))
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    asked, wrong = [], []
    page.set_default_timeout(120_000)
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda reply: reply.status >= 400 and wrong.append(reply.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(served.address)
    page.wait_for_selector("#sc-images .caption-label")
    assert page.locator("#sc-drop").bounding_box()["height"] < 70
    page.screenshot(path=pictures / f"first_{width}_{scheme}.png")
    assert len(asked) == len(set(asked))
    page.set_input_files("#sc-drop input[type=file]", served.recording)
    page.wait_for_selector("[data-player=sc-drop]")
    place = "document.querySelector('#sc-answer').getBoundingClientRect().y"
    page.wait_for_function(f"Math.abs({place}) < 20")
    captions = page.locator("#sc-images .caption-label").all_inner_texts()
    assert len(captions) == 5
    assert page.locator("#sc-example").is_hidden()
    assert page.locator(".sc-timeline path").first.get_attribute("d").startswith("M0.0")
    line = page.locator(".sc-timeline").bounding_box()
    assert 0 < line["x"] and line["x"] + line["width"] < width  # all of it can be seen
    for word in page.locator(".sc-word").all():
        box = word.bounding_box()
        assert line["x"] - 4 <= box["x"]
        assert box["x"] + box["width"] <= line["x"] + line["width"] + 4
    page.screenshot(path=pictures / f"answer_{width}_{scheme}.png", full_page=True)

    assert not any(".png" in caption for caption in captions)
    found = served.questions.speak({"path": str(served.recording)}, player="").paths
    page.locator(".thumbnail-lg").nth(found.index(str(served.image))).click()
    page.wait_for_selector(".sc-detail audio")
    assert page.locator(".sc-detail li").count() == 3
    page.wait_for_function("document.querySelector('.sc-detail audio').duration === 1.5")
    assert page.locator(".sc-detail", has_text="a red dog").locator("text=of this image").count()
    # opens where it was clicked: image and captions are on the screen together
    page.wait_for_timeout(500)
    parts = ("#sc-images .preview", ".sc-detail")
    top, bottom = (page.locator(part).bounding_box()["y"] for part in parts)
    assert 0 <= top < bottom < 900
    edges = {
        page.locator(part).first.bounding_box()["x"]
        for part in ("#sc-record", ".sc-head", "#sc-examples", ".sc-card")
    }
    assert max(edges) - min(edges) <= 1
    page.screenshot(path=pictures / f"page_{width}_{scheme}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width

    page.locator("#sc-similar").click()
    page.wait_for_selector("text=Images closest to red.png")
    page.wait_for_selector(".thumbnail-lg")
    assert page.locator("#sc-images .caption-label").count() == 4
    assert page.locator("#sc-similar").is_hidden() and not page.locator(".sc-detail").count()
    assert not wrong
    assert all(url.startswith((served.address, "data:", "blob:")) for url in asked)
    page.close()


def test_the_first_view_shows_images(served: Served, browser: Any) -> None:
    """They are beside what is shown."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(served.address)
    first = page.locator("#sc-images .thumbnail-lg").first.bounding_box()
    assert first["y"] + first["height"] < 800
    page.close()


def test_a_recording_of_the_index_is_played(served: Served, browser: Any) -> None:
    page = browser.new_page()
    page.goto(served.address)
    page.get_by_role("tab", name="Write").click()
    page.fill("#sc-text textarea, #sc-text input", "a red dog")
    page.get_by_role("button", name="Find").click()
    page.wait_for_selector("text=Recordings closest to “a red dog”")
    player = "document.querySelector('[aria-label=Recordings] audio')"
    page.evaluate(f"{player}.play()")
    page.wait_for_function(f"{player}.currentTime > 0 && {player}.duration < 2")
    page.close()


def test_what_is_wrong_is_said_on_the_page(served: Served, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("no sound")
    page = browser.new_page()
    page.goto(served.address)
    page.set_input_files("#sc-drop input[type=file]", tmp_path / "notes.wav")
    alert = page.wait_for_selector("[role=alert]")
    assert "cannot be used as a recording" in alert.inner_text()
    large = tmp_path / "large.wav"
    large.write_bytes(b"RIFF" + bytes(2**21))
    page.goto(served.address)
    assert "At most 5 s and 1 MB" in page.locator(".sc-head").inner_text()
    page.set_input_files("#sc-drop input[type=file]", large)
    page.wait_for_selector("text=maximum allowed size of 1.0 MB")
    page.get_by_role("tab", name="Write").click()
    page.fill("#sc-text textarea, #sc-text input", "a red dog")
    page.get_by_role("button", name="Find").click()
    page.wait_for_selector("text=Images closest to “a red dog”")
    assert page.locator("[role=alert]").count() == 0
    page.close()


def test_the_microphone_is_recorded_as_it_is(served: Served, browser: Any) -> None:
    before = set(served.uploads.rglob("*.wav"))
    page = browser.new_page()
    page.add_init_script(SPY)
    page.goto(served.address)
    page.get_by_role("button", name="Record").click()
    page.wait_for_timeout(3000)
    page.get_by_role("button", name="Stop").click()
    page.wait_for_selector("[data-player=sc-record]")
    opened = page.evaluate("window.opened")
    assert opened
    for settings in opened:
        assert not settings["echoCancellation"]
        assert not settings["noiseSuppression"]
        assert not settings["autoGainControl"]
    [sent] = set(served.uploads.rglob("*.wav")) - before
    samples, rate = soundfile.read(sent)
    heard = samples[rate : 2 * rate].reshape(rate, -1)[:, 0]
    assert np.sqrt(np.mean(heard**2)) == pytest.approx(0.05, rel=0.2)
    page.close()


def test_an_example_is_heard_and_played(served: Served, browser: Any) -> None:
    """The first one is there from the start; nothing is asked for it."""
    page = browser.new_page()
    page.goto(served.address)
    player = "document.querySelector('#sc-example audio')"
    page.wait_for_function(f"{player}?.duration === 1.5")
    shown = page.locator(".sc-wave path").get_attribute("d")
    page.get_by_role("button", name="<i>tags</i>").click()
    page.wait_for_function(
        "old => document.querySelector('.sc-wave path').getAttribute('d') !== old", arg=shown
    )
    page.wait_for_function(f"{player}?.duration === 1.5")  # as its recording
    page.locator(".sc-wave").click(position={"x": 5, "y": 5})
    page.wait_for_function(f"{player}.currentTime > 0")
    page.close()


def test_readmes_picture_has_all_of_the_answer(
    served: Served, browser: Any, tmp_path: Path
) -> None:
    from PIL import Image

    page = browser.new_page(viewport=WINDOW)
    page.goto(served.address)
    page.locator("#sc-examples .gallery-item").first.click()  # as the picture does
    page.wait_for_function(ANSWERED)
    page.wait_for_function(LOADED)
    tabs, answer = (page.locator(part).bounding_box() for part in ("[role=tablist]", "#sc-answer"))
    size = answer["width"], answer["y"] + answer["height"] - tabs["y"]
    page.close()
    take_picture(browser, served.address, tmp_path / "page.jpg")
    with Image.open(tmp_path / "page.jpg") as picture:
        assert list(picture.size) == pytest.approx([side + 2 * MARGIN for side in size], abs=3)
        edge = np.asarray(picture.convert("L"))[-MARGIN // 2 :]
    assert edge.min() > 240  # nothing is cut at the bottom
