"""Takes the image of README, docs/page.jpg: the answer to the first example on the demo page.

``make picture`` runs it in the recipe's folder, with the model in the repository.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PICTURE = Path(__file__).parents[1] / "docs" / "page.jpg"
WINDOW = {"width": 1024, "height": 400}  # pixels; the page is higher, so it scrolls to an answer
MARGIN = 16  # pixels around the tabs and the answer
MICROPHONE = """navigator.mediaDevices.enumerateDevices = async () =>
  [{kind: "audioinput", deviceId: "default", groupId: "", label: "Microphone"}];"""
ANSWERED = "Math.abs(document.querySelector('#sc-answer').getBoundingClientRect().y) < 20"
LOADED = "[...document.images].every((image) => image.complete)"


def take_picture(browser: Any, address: str, picture: Path) -> None:
    """Clicks the first example and takes an image of the tabs and all of the answer.

    Args:
        browser: Browser of playwright.
        address: Address of the demo page.
        picture: JPEG file to write.
    """
    page = browser.new_page(viewport=WINDOW)
    page.add_init_script(MICROPHONE)
    page.goto(address)
    page.locator("#sc-examples .gallery-item").first.click()
    page.wait_for_function(ANSWERED)
    page.mouse.move(0, 0)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_function(LOADED)
    tabs = page.locator("[role=tablist]").bounding_box()
    answer = page.locator("#sc-answer").bounding_box()
    clip = {
        "x": answer["x"] - MARGIN,
        "y": tabs["y"] - MARGIN,
        "width": answer["width"] + 2 * MARGIN,
        "height": answer["y"] + answer["height"] - tabs["y"] + 2 * MARGIN,
    }
    page.screenshot(path=picture, clip=clip, full_page=True, quality=85)
    page.close()


def main() -> None:
    """Serves the demo page and takes the image."""
    from playwright.sync_api import sync_playwright

    from espnet_plugin.apps.demo.backend import open_backend
    from espnet_plugin.apps.demo.server import launch
    from espnet_plugin.apps.demo.uploads import Limits
    from espnet_plugin.apps.search.index import Index
    from espnet_plugin.inference.speechclip import SpeechCLIP
    from espnet_plugin.utils.scratch import scratch_folder

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--index", type=Path, required=True, help="index of the images")
    parser.add_argument("--data", type=Path, required=True, help="data directory of the examples")
    args = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("picture: error: Chromium is not installed; install it, then try again")
    index = Index(args.index)
    backend = open_backend(SpeechCLIP.from_pretrained, model=None, index=index, data=args.data)
    with scratch_folder() as folder, sync_playwright() as running:
        served = launch(backend, limits=Limits(), folder=folder)
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        take_picture(browser, served.local_url, PICTURE)
        browser.close()
        served.close(verbose=False)


if __name__ == "__main__":
    main()
