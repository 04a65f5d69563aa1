from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.sounds import murmur


@dataclass(frozen=True)
class Served:
    """A page that answers.

    Attributes:
        address: ``http://127.0.0.1:PORT``.
        root: The folder of everything that it knows.
        recording: A recording.
        image: An image of the index.
        secret: A file beside the index, which it must not serve.
        uploads: The folder of what visitors sent.
        questions: What it asks.
    """

    address: str
    root: Path
    recording: Path
    image: Path
    secret: Path
    uploads: Path
    questions: Any


SECRET = b"taken at home"


def save_with_all(pixels: np.ndarray, path: Path) -> None:
    """Writes an image with all that its format can hold beside the pixels, which is secret."""
    from PIL import Image, ImageCms
    from PIL.PngImagePlugin import PngInfo

    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()  # ImageDescription
    exif.get_ifd(0x8825)[1] = SECRET.decode()  # GPS
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + SECRET
    text = PngInfo()
    text.add_text("Comment", SECRET.decode())
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    options = {"exif": exif, "xmp": SECRET, "icc_profile": profile, "comment": SECRET}
    Image.fromarray(pixels).save(path, pnginfo=text, **options)
    # PNG's profile is compressed
    assert path.read_bytes().count(SECRET) == {".png": 4, ".jpg": 5, ".webp": 4}[path.suffix]


@pytest.fixture(scope="session")
def served(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page over a tiny model, five images, a recording of 5 s and three captions."""
    pytest.importorskip("gradio", reason="pip install '.[demo]'")
    from PIL import Image

    from espnet_plugin import SpeechCLIP
    from espnet_plugin.apps.demo.backend import Backend
    from espnet_plugin.apps.demo.captions import embed_captions, read_captions
    from espnet_plugin.apps.demo.media import Recordings
    from espnet_plugin.apps.demo.page import Questions
    from espnet_plugin.apps.demo.server import launch
    from espnet_plugin.apps.demo.uploads import Limits
    from espnet_plugin.apps.search.encoder import ClipEncoder, embed_recording
    from espnet_plugin.apps.search.index import Index
    from espnet_plugin.apps.search.model import identify_model
    from espnet_plugin.apps.search.update import update_index

    root = tmp_path_factory.mktemp("machine")
    rng = np.random.default_rng(0)
    names = ["red.png", "sea.jpg", "dog.webp", '<b>bold & "quoted".png', "tree.png"]
    images, data, uploads = root / "images", root / "data", root / "uploads"
    for folder in (images, data, uploads):
        folder.mkdir()
    for name in names:
        save_with_all(rng.integers(0, 255, (40, 60, 3), np.uint8), images / name)
    recordings = [data / f"clip{number}.wav" for number in range(3)]
    for seed, recording in enumerate(recordings):
        soundfile.write(recording, murmur(24000, seed=seed), 16000)
    (data / "wav.scp").write_text(
        "".join(f"{recording.stem} {recording}\n" for recording in recordings)
    )
    (data / "text").write_text("clip0 a red dog\nclip1 <i>tags</i>\n")
    (data / "utt2image").write_text("clip0 red\n")
    (data / "image.scp").write_text(f"red {images / 'red.png'}\n")
    secret = root / "secret.png"
    Image.new("RGB", (9, 9)).save(secret)
    model = identify_model(str(exported))
    loaded = SpeechCLIP.from_pretrained(exported, device="cpu")
    talks = root / "talks"
    talks.mkdir()
    parts = [part for _ in range(2) for part in (np.zeros(24000), rng.normal(0, 0.1, 16000))]
    soundfile.write(talks / "<i>talk.wav", np.concatenate(parts), 16000)
    update_index(
        root / "index",
        [images, talks],
        model=model,
        encoder=ClipEncoder(model.name),
        embed_recording=lambda path: embed_recording(loaded, path),
    )
    index = Index(root / "index")
    captions = embed_captions(read_captions(data), loaded)
    backend = Backend(loaded, model.fingerprint, index=index, captions=captions)
    limits = Limits(size=2**20, seconds=5)
    page = launch(backend, limits=limits, folder=uploads)
    address = page.local_url.rstrip("/")
    questions = Questions(backend, Recordings(), limits)
    yield Served(address, root, recordings[0], images / "red.png", secret, uploads, questions)
    page.close()
