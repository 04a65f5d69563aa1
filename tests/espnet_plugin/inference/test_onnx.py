"""Real graphs of tiny models: as good as PyTorch, found by searches, refused when damaged."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from PIL import Image

from espnet_plugin import SpeechCLIP
from espnet_plugin.bin.speechclip import main
from espnet_plugin.data.scp import DataError
from espnet_plugin.demo.backend import open_backend
from espnet_plugin.inference.onnx import export as exporting
from espnet_plugin.inference.onnx.session import FILE, IMAGE, SPEECH, OnnxModel, kept_model
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import save_speechclip
from espnet_plugin.pretrained.fingerprint import model_fingerprint
from tests.tiny import tiny_hubert_dir, tiny_hybrid_plus_config

pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")
pytest.importorskip("onnx.helper", reason="pip install '.[onnx]'")
RNG = np.random.default_rng(0)
LENGTHS = (300, 5000, 32123)
SPEECH_OF = [(0.1 * RNG.standard_normal(length)).astype(np.float32) for length in LENGTHS]
PIXELS = [RNG.integers(0, 256, (*size, 3), np.uint8) for size in ((40, 48), (33, 77), (500, 31))]


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Other tests' searches do not find these exports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPEECHCLIP_CACHE", str(tmp_path_factory.mktemp("onnx_cache")))
        yield


@pytest.fixture(scope="module")
def model(exported: Path) -> SpeechCLIP:
    return SpeechCLIP.from_pretrained(exported, device="cpu")


@pytest.fixture(scope="module")
def made(model: SpeechCLIP) -> dict:
    """Graphs in float32."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "COSINE", 2.0)
        return exporting.export_onnx(model)


@pytest.fixture
def copy(made: dict, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["directory"], tmp_path / "copy"))


def opened(directory: Path | str) -> OnnxModel:
    export = json.loads((Path(directory) / FILE).read_text())
    return OnnxModel(Path(directory), export["fingerprint"])


def same_rows(ours: OnnxModel, model: SpeechCLIP) -> None:
    for samples in SPEECH_OF:
        row = ours.encode_speech(samples, sampling_rate=16000)
        assert row.shape == (1, model.embedding_dim) and row.dtype == np.float32
        assert np.abs(row - model.encode_speech(samples)).max() < 1e-4
    for pixels in PIXELS:
        row = ours.encode_image(pixels)
        assert row.dtype == np.float32
        assert np.abs(row - model.encode_image([pixels])).max() < 1e-4


@pytest.mark.slow
def test_float32_is_what_pytorch_computes(model: SpeechCLIP, made: dict) -> None:
    assert {text.split()[0] for text in made["precisions"].values()} == {"float32"}
    same_rows(opened(made["directory"]), model)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_class", "stable", "reach"),
    [
        ("HubertModel", True, None),
        ("HubertModel", False, 4),
        ("Wav2Vec2Model", False, None),
        ("Wav2Vec2Model", True, None),
    ],
)
def test_other_encoders_and_local_attention(
    model_class: str,
    stable: bool,
    reach: int | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_hybrid_plus_config(tmp_path)
    config["attention_conf"] = {**config.get("attention_conf", {}), "reach": reach}
    encoder = tiny_hubert_dir(tmp_path, stable=stable, model_class=model_class)
    config["speech_encoder_conf"]["model"] = str(encoder)
    save_speechclip(build_speechclip(config).eval(), config, tmp_path / "model")
    model = SpeechCLIP.from_pretrained(tmp_path / "model", device="cpu")
    monkeypatch.setattr(exporting, "COSINE", 2.0)
    same_rows(opened(exporting.export_onnx(model)["directory"]), model)


@pytest.mark.slow
def test_int8_where_it_changes_little(model: SpeechCLIP, tmp_path: Path, monkeypatch) -> None:
    soundfile.write(tmp_path / "a.wav", SPEECH_OF[2], 16000)
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path))
    done = exporting.export_onnx(model, recordings=[str(tmp_path / "a.wav")])
    ours = opened(done["directory"])
    for text in done["precisions"].values():
        precision, cosine = text.split()[0], float(text.split()[-1].strip(")"))
        assert precision == ("int8" if cosine >= 0.999 else "float32")
    for name, row, expected in (
        (SPEECH, ours.encode_speech(SPEECH_OF[2]), model.encode_speech(SPEECH_OF[2])),
        (IMAGE, ours.encode_image(PIXELS[0]), model.encode_image([PIXELS[0]])),
    ):
        assert (row * expected).sum() > 0.998
        is_small = b"DynamicQuantizeLinear" in (ours.directory / name).read_bytes()
        assert is_small == done["precisions"][name].startswith("int8")


@pytest.mark.slow
def test_search_uses_it_without_pytorch(
    exported: Path, model: SpeechCLIP, made: dict, tmp_path: Path, capsys
) -> None:
    (tmp_path / "pictures").mkdir()
    for number, pixels in enumerate(PIXELS[:2]):
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    wav, index = tmp_path / "query.wav", tmp_path / "index"
    soundfile.write(wav, np.stack([SPEECH_OF[2]] * 2, axis=1), 44100)
    main(["index", str(tmp_path / "pictures"), "--model", str(exported), "--index", str(index)])
    search = ["search", "--index", str(index), "--wav", str(wav), "--json"]
    program = (
        "import sys; from espnet_plugin.bin.speechclip import main; main(sys.argv[1:]); "
        "assert not {'torch', 'transformers', 'open_clip', 'espnet2'} & sys.modules.keys()"
    )
    query = [*search, "--image", str(tmp_path / "pictures" / "1.png")]
    done = subprocess.run([sys.executable, "-c", program, *query], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    capsys.readouterr()
    main([*query, "--device", "cpu"])
    theirs = json.loads(capsys.readouterr().out)
    ours = json.loads(done.stdout)
    assert [hit["path"] for hit in ours] == [hit["path"] for hit in theirs]
    assert np.allclose([hit["score"] for hit in ours], [hit["score"] for hit in theirs], atol=1e-4)
    for options in (["--text", "a dog"], ["--branch", "cascaded"], ["--branch", "parallel"]):
        main([*search, *options])  # PyTorch where the export has no such part
        assert len(json.loads(capsys.readouterr().out)) == 2
    place = Path(made["directory"])
    try:
        (place / SPEECH).rename(place / "away")
        (place / SPEECH).write_bytes(b"other")
        with pytest.raises(SystemExit, match=f"{SPEECH}: changed since it was written"):
            main(search)
    finally:
        (place / "away").replace(place / SPEECH)


@pytest.mark.slow
def test_it_answers_for_its_very_model_only(
    exported: Path, made: dict, tmp_path: Path, capsys
) -> None:
    model, wav, index = tmp_path / "model", tmp_path / "query.wav", tmp_path / "index"
    shutil.copytree(exported, model)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(PIXELS[0]).save(tmp_path / "pictures" / "0.png")
    soundfile.write(wav, SPEECH_OF[2], 16000)
    main(["index", str(tmp_path / "pictures"), "--model", str(model), "--index", str(index)])
    search = ["search", "--index", str(index), "--wav", str(wav)]
    for options, lines in (
        ([], ["heard: onnx gives no words, --engine torch may", "engine: onnx"]),
        (["--model", str(model)], ["heard: onnx gives no words, --engine torch may"]),
        (["--engine", "torch"], ["heard: ", "engine: torch"]),
    ):
        capsys.readouterr()
        main([*search, *options])
        printed = capsys.readouterr().out.splitlines()
        assert all(map(str.startswith, printed, lines))
    config = yaml.safe_load((model / "config.yaml").read_text())
    config["speech_encoder_conf"]["normalize_waveform"] = True
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    assert kept_model(model_fingerprint(exported)) is not None
    assert kept_model(model_fingerprint(model)) is None
    with pytest.raises(SystemExit, match=r"index was made by .* as it is now"):
        main(search)
    main(["index", "--index", str(index), "--force"])
    capsys.readouterr()
    main(search)
    assert "engine: torch" in capsys.readouterr().out


def test_the_page_uses_it(exported: Path, model: SpeechCLIP, made: dict, monkeypatch) -> None:
    backend = open_backend(
        lambda name: SpeechCLIP.from_pretrained(name, device="cpu"),
        model=str(exported), index=None, data=None,
    )  # fmt: skip
    exporting.use_export(backend.model)
    runs: list[str] = []
    run = OnnxModel.run
    monkeypatch.setattr(
        OnnxModel, "run", lambda self, *given: runs.append(given[1]) or run(self, *given)
    )
    exporting.use_export(backend.model)
    heard = backend.hear(SPEECH_OF[2])
    assert runs == ["states"]
    expected = model(SPEECH_OF[2])
    assert np.allclose(heard.alphas, expected.alphas, atol=1e-4)
    assert [word.word for word in heard.keywords] == [word.word for word in model.words(expected)]
    rows = backend.model.encode_speech(SPEECH_OF)  # of different lengths, in one batch
    assert np.abs(rows - model.encode_speech(SPEECH_OF)).max() < 1e-4


def rewritten(directory: Path, **changed: object) -> Path:
    content = json.loads((directory / FILE).read_text())
    (directory / FILE).write_text(json.dumps({**content, **changed}))
    return directory


def test_an_export_of_another_model_or_format_is_refused(copy: Path) -> None:
    with pytest.raises(DataError, match=f"{copy / FILE} cannot be used .*of format 1, model"):
        OnnxModel(copy, "0" * 64)
    with pytest.raises(DataError, match="it is of format 2"):
        opened(rewritten(copy, format_version=2))
    for text in ("", "[]", "{}", '{"format_version": 1, "fingerprint": []}'):
        (copy / FILE).write_text(text)
        with pytest.raises(DataError, match=f"{FILE} cannot be used .*; export the model again"):
            OnnxModel(copy, "0" * 64)
    (copy / FILE).write_text(json.dumps({"format_version": 1, "fingerprint": "0" * 64}))
    with pytest.raises(DataError, match="'sampling_rate'.*; export the model again"):
        OnnxModel(copy, "0" * 64)
    (copy / FILE).unlink()
    with pytest.raises(DataError, match=f"{FILE} cannot be used .*; export the model again"):
        OnnxModel(copy, "0" * 64)


def test_a_missing_graph_and_threads_for_several_levels(copy: Path, monkeypatch) -> None:
    ours = opened(copy)
    for threads in ("2,1", ""):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert opened(copy).encode_image(PIXELS[0]).shape[0] == 1
    (copy / SPEECH).unlink()
    with pytest.raises(DataError, match=f"{SPEECH}: .*; export the model again"):
        ours.encode_speech(SPEECH_OF[1])


def test_weights_in_other_files_are_refused(copy: Path) -> None:
    import hashlib

    import onnx

    onnx.save(
        onnx.load(copy / IMAGE), copy / IMAGE, save_as_external_data=True, size_threshold=0,
        location="weights",
    )  # fmt: skip
    digest = hashlib.sha256((copy / IMAGE).read_bytes()).hexdigest()
    ours = opened(rewritten(copy, digests={IMAGE: digest}))
    with pytest.raises(DataError, match=f"{IMAGE}: refers to other files"):
        ours.encode_image(PIXELS[0])


def test_other_branches_are_refused(made: dict) -> None:
    with pytest.raises(ValueError, match="only the parallel branch was exported"):
        opened(made["directory"]).encode_speech(SPEECH_OF[1], branch="cascaded")


def test_a_model_without_the_parallel_branch_is_refused(tmp_path: Path) -> None:
    config = {**tiny_hybrid_plus_config(tmp_path), "model_conf": {"parallel": False}}
    save_speechclip(build_speechclip(config).eval(), config, tmp_path / "model")
    model = SpeechCLIP.from_pretrained(tmp_path / "model", device="cpu")
    with pytest.raises(ValueError, match="export needs parallel: true"):
        exporting.export_onnx(model)
    assert kept_model(model_fingerprint(tmp_path / "model")) is None
    exporting.use_export(model)  # nothing to use


@pytest.mark.parametrize("infinite", [False, True])
def test_what_cannot_be_traced_is_refused(infinite: bool, tmp_path: Path) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, speech: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            loudest = float(speech.abs().max())
            return (2 * loudest - speech).log() if infinite else speech * loudest, speech

    inputs = [samples / abs(samples).max() for samples in SPEECH_OF[:2]]
    inputs[1] *= 3  # the logarithm of 2 - 3 is NaN
    with pytest.raises(ValueError, match=f"{SPEECH}: onnxruntime and PyTorch differ"):
        exporting._export(tmp_path / SPEECH, Fixed(), inputs, inputs)


def test_the_command_says_what_it_wrote(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path))
    monkeypatch.setattr(exporting, "_export", lambda path, *_: "int8 (cosine of both 0.9999)")
    main(["export", "--model", str(exported)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == [SPEECH, "int8"] and lines[1].split()[:2] == [IMAGE, "int8"]
    assert lines[2] == f"in           {tmp_path / 'onnx' / model_fingerprint(exported)}"
