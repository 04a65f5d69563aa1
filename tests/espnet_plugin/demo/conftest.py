from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile


@dataclass(frozen=True)
class Served:
    """A page that answers.

    Attributes:
        address: ``http://127.0.0.1:PORT``.
        root: Where everything lies that it knows; no answer may tell.
        clip: A recording.
        picture: A picture of the index.
        secret: A file beside the index, which must not be had.
    """

    address: str
    root: Path
    clip: Path
    picture: Path
    secret: Path


@pytest.fixture(scope="session")
def served(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page over a tiny model, five pictures and three captions."""
    pytest.importorskip("gradio", reason="pip install '.[demo]'")
    pytest.importorskip("faiss")
    import uvicorn
    from PIL import Image

    from espnet_plugin import SpeechCLIP
    from espnet_plugin.demo.backend import Backend
    from espnet_plugin.demo.captions import embed_captions, read_captions
    from espnet_plugin.demo.server import build_app
    from espnet_plugin.demo.uploads import Limits, Uploads
    from espnet_plugin.search.encoder import ClipEncoder
    from espnet_plugin.search.index import PictureIndex
    from espnet_plugin.search.model import identify_model
    from espnet_plugin.search.update import update_index

    root = tmp_path_factory.mktemp("machine")
    rng = np.random.default_rng(0)
    names = ["red.png", "sea.jpg", "dog.png", '<b>bold & "quoted".png', "tree.png"]
    pictures, data, uploads = root / "pictures", root / "data", root / "uploads"
    for folder in (pictures, data, uploads):
        folder.mkdir()
    for name in names:
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(pictures / name)
    clips = [data / f"clip{number}.wav" for number in range(3)]
    for clip in clips:
        soundfile.write(clip, 0.1 * rng.standard_normal(24000), 16000)
    (data / "wav.scp").write_text("".join(f"{clip.stem} {clip}\n" for clip in clips))
    (data / "text").write_text("clip0 a red dog\nclip1 <i>tags</i>\n")
    (data / "utt2image").write_text("clip0 red\n")
    (data / "image.scp").write_text(f"red {pictures / 'red.png'}\n")
    secret = root / "secret.png"
    Image.new("RGB", (9, 9)).save(secret)
    model = identify_model(str(exported))
    update_index(root / "index", [pictures], model=model, encoder=ClipEncoder(model.name))
    loaded = SpeechCLIP.from_pretrained(exported, device="cpu")
    index = PictureIndex(root / "index")
    captions = embed_captions(
        read_captions(data), loaded, fingerprint=model.fingerprint, cache=index.directory
    )
    backend = Backend(loaded, index=index, captions=captions)
    limits = Limits(size=2**20, seconds=5)
    app = build_app(
        backend, Uploads(uploads, limits=limits), hosts=frozenset({"127.0.0.1", "localhost"})
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Served(f"http://127.0.0.1:{port}", root, clips[0], pictures / "red.png", secret)
    server.should_exit = True
    thread.join(timeout=20)
