"""No older result passes for a new one: every step notes its options, inputs and version.

A step whose output changes gets another version: ``versions.json`` has the output of a tiny input
for each step of ``VERSIONS``. After raising a version, write it again:
``SPEECHCLIP_WRITE_VERSIONS=1 python -m pytest THIS_FILE``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from espnet_plugin.apps.search.encoder import load_encoders
from espnet_plugin.apps.search.index import Index
from espnet_plugin.apps.search.model import identify_model
from espnet_plugin.apps.search.update import update_index
from espnet_plugin.bin import (
    datadir,
    dump_image_embeddings,
    dump_speech_states,
    format_wav_scp,
    keyword_vocabulary,
    speechclip_inference,
    speechclip_pack,
)
from espnet_plugin.data.frame_store import StoredFrames
from espnet_plugin.data.inference_set import read_inference_set
from espnet_plugin.data.record import VERSIONS, differences, read_record
from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.evaluation.report.write import write_results
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.pretrained import save_speechclip
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.teachers.speech_batch import SpeechBatch
from tests.espnet_plugin.evaluation.conftest import write_set
from tests.espnet_plugin.tasks.test_speechclip import train

FILE = Path(__file__).with_name("versions.json")
ELSEWHERE = {"study", "SUPERB"}  # they run the steps here; what they add is tested with them


def wave(number: int, size: int) -> np.ndarray:
    """Numbers that no library draws."""
    return np.sin(np.arange(size) * (0.7 + 0.1 * number)) * np.cos(np.arange(size) * 0.013)


def fill(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of the same shapes from ``wave``; positive where a norm or a variance may be."""
    filled = {}
    for name, value in weights.items():
        numbers = torch.from_numpy(wave(value.ndim, value.numel())).reshape(value.shape)
        scaled = 1 + 0.1 * numbers if value.ndim < 2 else numbers / math.sqrt(value[0].numel())
        filled[name] = scaled.to(value.dtype) if value.is_floating_point() else value
    return filled


@pytest.fixture(scope="module")
def corpus(tiny_corpus, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of the tiny corpus, with filled frozen models and waves as speech."""
    before, root = tiny_corpus.data.parent, tmp_path_factory.mktemp("versions") / "corpus"
    shutil.copytree(before, root)
    for file in (path for path in (root / "data").iterdir() if path.suffix in ("", ".scp")):
        file.write_text(file.read_text().replace(str(before), str(root)))
    write_scp(root / "data" / "utt2spk", dict.fromkeys(tiny_corpus.utt2image, "speaker"))
    moved = {name: root / path.relative_to(before) for name, path in vars(tiny_corpus).items()
             if isinstance(path, Path)}  # fmt: skip
    tiny_corpus = replace(tiny_corpus, **moved)
    for file in (tiny_corpus.clip_weights, tiny_corpus.speech_encoder / "model.safetensors"):
        save_file(fill(load_file(file)), file, metadata={"format": "pt"})
    for number, path in enumerate(read_scp(tiny_corpus.data / "wav.scp").values()):
        samples, rate = soundfile.read(path)
        soundfile.write(path, 0.3 * wave(number, len(samples)), rate)
    return tiny_corpus


@pytest.fixture(scope="module")
def train_options(corpus, tiny_corpus, model_arguments) -> list[str]:
    root = str(corpus.data.parent)
    return [word.replace(str(tiny_corpus.data.parent), root) for word in model_arguments]


@pytest.fixture(scope="module")
def model(corpus, train_options, tmp_path_factory) -> Path:
    """A filled model of both branches."""
    output = tmp_path_factory.mktemp("filled")
    trained = train(corpus, train_options, output / "exp", "--max_epoch", "1")
    network, args = SpeechCLIPTask.build_model_from_file(trained / "config.yaml")
    network.load_state_dict(fill(network.state_dict()))
    torch.save(network.state_dict(), trained / "filled.pth")
    save_speechclip(network.speechclip.eval(), vars(args), output / "model")
    return output


def recordings(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    stereo = 0.5 * np.stack([wave(1, 4000), wave(2, 4000)], axis=1)
    soundfile.write(root / "a.wav", stereo, 8000)
    os.utime(root / "a.wav", ns=(1, 1))
    write_scp(root / "wav.scp", {"a": root / "a.wav"})
    format_wav_scp.main(["--wav_scp", f"{root}/wav.scp", "--output_dir", f"{root}/out", *more])
    path = next(iter(read_scp(root / "out" / "wav.scp").values()))
    samples, rate = soundfile.read(path)
    return [rate, len(samples), *samples[1000:1008]]


def data_set(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    options = ["--input_dir", str(corpus.data), "--output_dir", f"{root}/out"]
    datadir.main(["filter", *options, "--min_seconds", "0.25", "--max_seconds", "0.45", *more])
    return [*read_scp(root / "out" / "utt2num_samples").items()]


def image_embeddings(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    options = ["--clip_model", str(corpus.clip_model), "--clip_pretrained"]
    options += [str(corpus.clip_weights), "--image_scp", f"{corpus.data}/image.scp"]
    dump_image_embeddings.main([*options, "--output_dir", f"{root}/out", *more])
    return [*np.load(root / "out" / "img3.npy")[:8]]


def vocabulary(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    options = ["--text", f"{corpus.data}/text", "--clip_model", str(corpus.clip_model)]
    keyword_vocabulary.main([*options, "--output", f"{root}/tokens.tsv", *more])
    return (root / "tokens.tsv").read_text().splitlines()


def hidden_states(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    options = ["--speech_encoder_conf", f"model={corpus.speech_encoder}", "--output_dir", str(root)]
    dump_speech_states.main([*options, "--wav_scp", f"{corpus.data}/wav.scp", *more])
    frames = StoredFrames(root / "speech_states.scp").read("img1_0")["frames"]
    return [*frames.shape, *frames[3, 1, :6]]


def training(root: Path, corpus: Any, model: Path) -> Any:
    network, _ = SpeechCLIPTask.build_model_from_file(
        model / "exp" / "config.yaml", model / "exp" / "filled.pth"
    )
    waves = np.stack([0.3 * wave(number, 6400) for number in range(3)])
    images = torch.from_numpy(wave(3, 3 * 32).reshape(3, 32)).float()
    speech = SpeechBatch(torch.full((3,), 6400), torch.from_numpy(waves).float())
    ids = torch.arange(3)[:, None]
    loss, *_ = network.train()(speech=speech, image=images, image_id=ids)
    loss.backward()
    parts = (p.grad.norm() for p in network.parameters() if p.grad is not None)
    return [float(loss.detach()), float(torch.stack([*parts]).norm())]


def inference(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    data = corpus.data
    speechclip_inference.main([
        *("--data_path_and_name_and_type", f"{data}/wav.scp,speech,sound", "--num_workers", "0"),
        *("--image_scp", f"{data}/image_embedding.scp", "--utt2image", f"{data}/utt2image"),
        *("--output_dir", f"{root}/out", "--model_tag", f"{model}/model"),
        *more,
    ])  # fmt: skip
    found = read_inference_set(root / "out")
    assert found.parallel is not None and found.cascaded is not None
    words = [[word.token_id for word in each.keywords] for each in found.keywords[:3]]
    return [*found.parallel[2, :4], *found.cascaded[2, :4], *words]


def scores(root: Path, corpus: Any, model: Path, dev_set: str = "dev", seed: str = "1") -> Any:
    write_set(root / "test")
    write_set(root / dev_set, seed=int(seed))
    found = write_results(root, test_set="test", dev_set=dev_set, figures=False, report=False)
    recalls = [found[branch]["speech_to_image"]["recall@1"] for branch in ("parallel", "fusion")]
    rates = ("content_word_recall", "content_word_hit@1", "duplicate_rate")
    chosen = json.loads((root / "choices.json").read_text())
    return [*recalls, *(found["keywords"][rate] for rate in rates), *chosen.values()]


def packed(root: Path, corpus: Any, model: Path, *more: str) -> Any:
    options = ["--train_config", f"{model}/exp/config.yaml", "--outpath", f"{root}/model"]
    speechclip_pack.main([*options, "--model_file", f"{model}/exp/filled.pth", *more])
    loaded = SpeechCLIP.from_pretrained(root / "model", device="cpu")
    rows = loaded.encode_speech(0.3 * wave(2, 6400).astype(np.float32), branch="both")
    return [*rows[0, :6]]


def index(root: Path, corpus: Any, model: Path) -> Any:
    files, rate = root / "files", 16000
    files.mkdir()
    (image,) = {path for key, path in read_scp(corpus.data / "image.scp").items() if key == "img3"}
    shutil.copy(image, files)
    spoken, quiet = 0.3 * wave(1, 2 * rate), np.zeros(rate)
    soundfile.write(files / "a.wav", np.concatenate([quiet, *[spoken] * 6, quiet]), rate)
    found = identify_model(f"{model}/model")
    update_index(root / "index", [files], model=found, **load_encoders(found, device="cpu"))
    hits = Index(root / "index").search(wave(2, 32), top=9)
    return [[hit.score, hit.start or 0, hit.end or 0, len(hit.words)] for hit in hits]


STEPS: dict[str, Callable[[Path, Any, Path], Any]] = {
    "recordings": recordings,
    "data set": data_set,
    "image embeddings": image_embeddings,
    "vocabulary": vocabulary,
    "hidden states": hidden_states,
    "training": training,
    "inference": inference,
    "scores": scores,
    "model": packed,
    "index": index,
}


def rounded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value if isinstance(value, str) else round(float(value), 3)


def test_every_version_has_an_output() -> None:
    assert STEPS.keys() | ELSEWHERE == VERSIONS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_the_same_version_makes_the_same(step: str, corpus, model: Path, tmp_path: Path) -> None:
    made = rounded(STEPS[step](tmp_path, corpus, model))
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    if os.environ.get("SPEECHCLIP_WRITE_VERSIONS"):
        known[step] = {"version": VERSIONS[step], "output": made}
        FILE.write_text(json.dumps(dict(sorted(known.items()))) + "\n")
        return
    assert known[step]["version"] == VERSIONS[step], f"write the output of {step} again, see above"
    assert as_numbers(made) == pytest.approx(
        as_numbers(known[step]["output"]), abs=2e-3, rel=1e-3
    ), f"{step} makes something else of the same input: raise its version in data/record.py"


def as_numbers(value: Any) -> list[float]:
    """All numbers of nested lists in order; a text is the sum of its characters."""
    if isinstance(value, list):
        return [number for item in value for number in as_numbers(item)]
    return [float(sum(map(ord, value)))] if isinstance(value, str) else [value]


@contextmanager
def changed(file: Path) -> Iterator[None]:
    """Another time of a recording, or one more line of a text, for now."""
    before, times = file.read_bytes(), file.stat()
    if file.suffix == ".wav":
        os.utime(file, ns=(1, 1))
    else:
        file.write_bytes(before + ADDED[file.suffix])
    yield
    file.write_bytes(before)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


ADDED = {"": b"img1_9 a new line\n", ".json": b"\n", ".yaml": b"# a new line\n"}
RECORDING, CLIP, TEXT = "img1_0.wav", "*clip*.json", "text"
# step: its result; an option and its message; a file or options, and the input
NOTED: dict[str, tuple[str, tuple[str, ...], str, str | tuple[str, ...], str]] = {
    "recordings": (
        *("out/wav.scp", ("--fs", "8k"), "rate: 16000 then, 8000 now"),
        *(("--wav_scp", "{data}/wav.scp"), "wav_scp"),
    ),
    "data set": (
        *("out", ("--max_seconds", "1"), "longest: 0.45 then, 1.0 now", RECORDING, "wav.scp"),
    ),
    "image embeddings": ("out", (), "", CLIP, "clip_model"),  # an image has a note
    "vocabulary": ("tokens.tsv", ("--original",), "original: False then, True now", TEXT, "text 1"),
    "hidden states": (
        *(".", ("--states_dtype", "int8"), "states_dtype: float16 then, int8 now"),
        *(RECORDING, "recordings"),
    ),
    "inference": (
        *("out", ("--max_seconds", "0.3"), "max_seconds: 400.0 then, 0.3 now", RECORDING, "speech"),
    ),
    "scores": ("scores.json", ("dev2",), "dev_set: dev then, dev2 now", ("dev", "2"), "dev"),
    "model": (
        *("model", ("--option", "{data}/utt2spk"), "option 1: "),
        *("{model}/exp/config.yaml", "model file 1"),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("step", NOTED)
def test_a_step_notes_its_options_inputs_and_version(
    step: str, corpus, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, option, said, file, name = NOTED[step]

    def record(folder: str, *more: str) -> Any:
        (tmp_path / folder).mkdir()
        more = tuple(word.replace("{data}", str(corpus.data)) for word in more)
        STEPS[step](tmp_path / folder, corpus, model, *more)
        return read_record(tmp_path / folder / result)

    before = record("before")
    assert before is not None and before.step == step
    assert differences(before, record("again")) == []
    if option:
        (difference,) = differences(before, record("option", *option))
        assert difference.startswith(said)
    if isinstance(file, str):
        found = [*corpus.data.parent.rglob(file)] if "/" not in file else [file]
        (path,) = (Path(str(path).replace("{model}", str(model))) for path in found)
        with changed(path):
            now = record("input")
    else:
        now = record("input", *file)
    assert [difference.split(":")[0] for difference in differences(before, now)] == [name]
    monkeypatch.setitem(VERSIONS, step, before.version + 1)
    versions = f"{step} {before.version} then, {step} {before.version + 1} now"
    assert differences(before, record("version")) == [f"its code: {versions}"]
