"""Uses the installed package as a stranger would, without the checkout.

    python -I try_wheel.py VERSION MAKERS

MAKERS is a folder with ``tests`` and ``benchmarks``, which make tiny models and checkpoints.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

import espnet_plugin
import s3prl_upstream
from espnet_plugin import SpeechCLIP
from espnet_plugin.pretrained import save_speechclip
from espnet_plugin.speechclip import build_speechclip

VERSION, MAKERS = sys.argv[1:]


def run(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def speechclip(*arguments: str) -> str:
    """What the installed command prints."""
    return run(str(Path(sysconfig.get_path("scripts")) / "speechclip"), *arguments)


def check_distribution() -> None:
    """It is what was built, with its data and licence."""
    installed = distribution("speechclip-plus")
    assert VERSION == espnet_plugin.__version__ == installed.version
    for package in (espnet_plugin, s3prl_upstream):
        assert Path(package.__file__).is_relative_to(sys.prefix), package.__file__
        assert files(package).joinpath("py.typed").is_file()
    for name in ("report.html.jinja", "report.css", "report.js"):
        assert files("espnet_plugin.evaluation.report").joinpath(name).is_file(), name
    assert files("s3prl_upstream").joinpath("superb/conf/ctc.yaml").is_file()
    assert installed.metadata["License"] == "Apache-2.0"
    assert installed.metadata["Description-Content-Type"] == "text/markdown"


def make_model(root: Path) -> Path:
    """A tiny hybrid+ model, exported."""
    sys.path.append(MAKERS)
    from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

    clip = tiny_clip_config(root)
    config = {
        "speech_encoder": "huggingface",
        "speech_encoder_conf": {"model": str(tiny_hubert_dir(root))},
        "clip_conf": {"model": str(clip), "pretrained": str(tiny_clip_weights(root, clip))},
        "keyword_vocabulary": list(range(500, 530)),
        "keyword_extractor": "cif",
        "keyword_extractor_conf": {"frames_per_keyword": 4},
        "attention_conf": {"num_heads": 2},
    }
    save_speechclip(build_speechclip(config).eval(), config, root / "model")
    return root / "model"


def make_files(root: Path) -> tuple[Path, list[Path]]:
    """A recording in stereo at 44.1 kHz, and pictures."""
    rng = np.random.default_rng(0)
    wav = root / "question.wav"
    soundfile.write(wav, 0.1 * rng.normal(size=(66150, 2)), 44100)
    (root / "pictures").mkdir()
    pictures = [root / "pictures" / f"{number}.png" for number in range(3)]
    for path in pictures:
        Image.fromarray(rng.integers(0, 255, (40, 48, 3)).astype(np.uint8)).save(path)
    return wav, pictures


def check_python(model_path: Path, wav: Path, pictures: list[Path]) -> None:
    """Embeddings and keywords."""
    model = SpeechCLIP.from_pretrained(model_path, device="cpu")
    speech, shown = model.encode_speech(wav), model.encode_image(pictures)
    assert model.similarity(speech, shown).shape == (1, len(pictures))
    assert model.encode_text("a red car").shape == speech.shape
    assert model.keywords(wav)


def check_search(model_path: Path, wav: Path, pictures: list[Path], root: Path) -> None:
    """The command, on a folder of pictures."""
    index = str(root / "pictures.index")
    speechclip("index", str(pictures[0].parent), "--model", str(model_path), "--index", index)
    found = json.loads(speechclip("search", "--index", index, "--wav", str(wav), "--json"))
    assert {Path(hit["path"]).name for hit in found} == {path.name for path in pictures}


def check_conversion(root: Path) -> None:
    """A checkpoint in the form of the released ones."""
    from tests.released_checkpoint import released_checkpoint

    (root / "released.ckpt").write_bytes(released_checkpoint())
    speechclip("convert", str(root / "released.ckpt"), str(root / "converted"))
    SpeechCLIP.from_pretrained(root / "converted", device="cpu")


def check_s3prl(model_path: Path) -> None:
    """The upstream, by its name."""
    import torch

    s3prl_upstream.register()
    from s3prl.nn import S3PRLUpstream

    upstream = S3PRLUpstream("speechclip_plus", path_or_url=str(model_path))
    states, _ = upstream(0.1 * torch.randn(1, 16000), torch.tensor([16000]))
    assert len(states) == upstream.num_layers


def main() -> None:
    """All of it."""
    check_distribution()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        model_path = make_model(root)
        wav, pictures = make_files(root)
        check_python(model_path, wav, pictures)
        check_search(model_path, wav, pictures, root)
        check_conversion(root)
        check_s3prl(model_path)
    commands = re.findall(r"^    (\w+) ", speechclip("--help"), re.MULTILINE)
    assert {"index", "search", "convert"} <= set(commands), commands
    for command in commands:
        speechclip(command, "--help")


if __name__ == "__main__":
    main()
