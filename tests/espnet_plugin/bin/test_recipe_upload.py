"""What stage 11 uploads loads by the repository's name, everywhere a model is named."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet_plugin import SpeechCLIP
from espnet_plugin.bin import recipe
from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.packing import pack_model
from espnet_plugin.pretrained.released import released_model
from s3prl_upstream.expert import UpstreamExpert
from tests.local_hub import LocalHub, only_hub
from tests.sounds import murmur


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalHub]:
    monkeypatch.setenv("HF_TOKEN", "hf_loopback")
    with only_hub(monkeypatch, tmp_path / "cache") as hub:
        yield hub


@pytest.fixture(scope="module")
def packed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As stage 10 leaves it."""
    directory = tmp_path_factory.mktemp("packed")
    (directory / "RESULTS.md").write_text("# RESULTS\n\n| first | {70.2} |\n")
    options = [directory / "RESULTS.md"]
    model = directory / "model"
    pack_model(trained / "config.yaml", trained / "latest.pth", model, options=options)
    return model


def test_uploaded_model_loads_by_its_name(hub: LocalHub, packed: Path) -> None:
    recipe.main(["upload", str(packed), "owner/model"])
    card = hub.repositories["owner/model"]["README.md"].decode()
    assert card.startswith("---\nlicense: other\n") and "people who trained this model" in card
    assert 'from_pretrained("owner/model")' in card and "| first | {70.2} |" in card

    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    waveform = torch.from_numpy(speech)
    expected = load_speechclip(packed, image_tower=False).encode_speech(waveform[None])
    by_name = load_speechclip("owner/model", image_tower=False)
    assert torch.equal(by_name.encode_speech(waveform[None]).cascaded, expected.cascaded)
    result = SpeechCLIPInference.from_pretrained("owner/model")(speech)
    assert np.allclose(result.parallel, expected.parallel[0].numpy(), atol=1e-6)
    upstream = UpstreamExpert("owner/model", outputs=["parallel"])
    assert torch.allclose(upstream([waveform])["parallel_embedding"], expected.parallel, atol=1e-6)


def test_a_folder_counts_more_than_an_older_zip_which_an_upload_removes(
    hub: LocalHub, packed: Path
) -> None:
    older = {"model.zip": b"older", "choices.json": b'{"min_score": 0.9}', "LICENSE": b"mine"}
    hub.repositories["owner/model"] = dict(older)
    model = SpeechCLIP.from_pretrained(packed, device="cpu")
    model.push_to_hub("owner/model")
    files = hub.repositories["owner/model"]
    assert older.keys() & files.keys() == {"LICENSE"} and "model.safetensors" in files
    assert {"README.md", "RESULTS.md"} < files.keys()  # of the new model
    files["model.zip"] = b"older"  # as an upload of version 0.2 left it
    assert resolve_model("owner/model").is_dir()
    speech = murmur(6000)
    again = SpeechCLIP.from_pretrained("owner/model", device="cpu")
    assert np.array_equal(again.encode_speech(speech), model.encode_speech(speech))


def test_cache_is_taken_and_renewed_on_request(hub: LocalHub) -> None:
    def weights(**options: bool) -> bytes:
        return (resolve_model("owner/model", **options) / "model.safetensors").read_bytes()

    hub.repositories["owner/model"] = {"config.yaml": b"", "model.safetensors": b"first"}
    assert weights() == b"first"
    hub.repositories["owner/model"]["model.safetensors"] = b"second"
    assert weights() == b"first"
    assert weights(refresh=True) == b"second"


def test_cached_card_alone_is_no_model(hub: LocalHub) -> None:
    from huggingface_hub import hf_hub_download

    files = {"config.yaml": b"", "model.safetensors": b"", "README.md": b"card"}
    hub.repositories["owner/model"] = files
    hf_hub_download("owner/model", "README.md")
    assert (resolve_model("owner/model") / "model.safetensors").is_file()


def test_an_older_zip_on_the_hub_is_left_there(hub: LocalHub) -> None:
    hub.repositories["owner/model"] = {"model.zip": b"packed", "README.md": b"card"}
    said = "hf download owner/model model.zip --local-dir . && unzip model.zip -d model"
    with pytest.raises(ValueError, match=f"owner/model: the repository holds no .*: {said}"):
        resolve_model("owner/model")
    assert not [download for download in hub.downloads if download.path == "model.zip"]


def test_a_model_is_published_with_its_results(
    hub: LocalHub, trained: Path, tmp_path: Path
) -> None:
    experiment = tmp_path / "exp" / "speechclip_x"
    shutil.copytree(trained, experiment)
    (experiment / "inference_x").mkdir()
    (experiment / "inference_x" / "RESULTS.md").write_text(
        "# speechclip_x\n\nSee [the page](report.html).\n\n## Retrieval\n\n"
        "| first | 70.2 (66.1-74.0) |\n\n## Environment\n\n| machine | mine |\n"
    )
    model = SpeechCLIP.from_pretrained(experiment, device="cpu")
    model.push_to_hub("owner/model")
    files = hub.repositories["owner/model"]
    card = files["README.md"].decode()
    assert "| first | 70.2 (66.1-74.0) |" in card
    assert "\n## speechclip_x\n\n### Retrieval\n" in card
    assert "the page" not in card and "mine" not in card + files["RESULTS.md"].decode()

    speech = np.random.RandomState(1).randn(6000).astype(np.float32) * 0.1
    by_name = SpeechCLIP.from_pretrained("owner/model", device="cpu")
    assert np.array_equal(by_name.encode_speech(speech), model.encode_speech(speech))
    by_name.save_pretrained(tmp_path / "saved")
    saved = tmp_path / "saved"
    assert "| first | 70.2" in (saved / "README.md").read_text()
    with pytest.raises(FileExistsError, match="saved exists"):
        model.save_pretrained(saved)


@pytest.mark.parametrize("load", [load_speechclip, SpeechCLIPInference.from_pretrained])
def test_unknown_names_get_one_error(hub: LocalHub, load: Callable[[str], object]) -> None:
    with pytest.raises(FileNotFoundError, match="owner/nothing: .* no repository of that name"):
        load("owner/nothing")
    with pytest.raises(FileNotFoundError, match="exp/x/model.zip: no such file .* expected an exp"):
        load("exp/x/model.zip")


def test_upload_says_what_went_wrong(
    hub: LocalHub, packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="absent: no such file"):
        recipe.main(["upload", "absent", "owner/model"])
    upload = ["upload", str(packed), "owner/model"]
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(SystemExit, match="owner/model failed: .*401.*logged in"):
        recipe.main(upload)
    assert hub.repositories == {}
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", closed)
    with pytest.raises(SystemExit, match=f"failed: no connection to {closed}"):
        recipe.main(upload)


def test_a_converted_model_keeps_its_authors_licence(trained: Path, tmp_path: Path) -> None:
    saved, again = tmp_path / "saved", tmp_path / "again"
    SpeechCLIP.from_pretrained(trained, device="cpu").save_pretrained(saved)
    for file, told in (
        (released_model("flickr8k-base-hybrid").path, "the authors publish none"),
        ("mine.ckpt", "ask the people who trained it"),
    ):
        with (saved / "config.yaml").open("a") as config:
            config.write(f"converted_from: {Path(file).name}\n")
        SpeechCLIP.from_pretrained(saved, device="cpu").save_pretrained(again, force=True)
        card = (again / "README.md").read_text()
        assert "license: other" in card and "Apache" not in card
        assert f"converted from `{Path(file).name}`: {told}" in card
        assert ("81.03" in card or "80.01" in card) == ("none" in told)


@pytest.fixture(scope="module")
def forms(trained: Path, packed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same model in every form."""
    exported = tmp_path_factory.mktemp("forms") / "exported"
    SpeechCLIP.from_pretrained(trained, device="cpu").save_pretrained(exported)
    return {
        "experiment": trained,
        "checkpoint": trained / "latest.pth",
        "packed": packed,
        "exported": exported,
    }


@pytest.mark.parametrize("form", ["experiment", "checkpoint", "packed", "exported"])
def test_what_is_in_memory_is_saved(forms: dict[str, Path], form: str, tmp_path: Path) -> None:
    speech = murmur(6000)
    model = SpeechCLIP.from_pretrained(forms[form], device="cpu")
    before = model.encode_speech(speech, branch="both")
    with torch.no_grad():
        for weight in model.model.parameters():
            weight.mul_(1.05 if weight.requires_grad else 1.0)
    model.model.keyword_branch.norm.norm.running_mean.add_(0.5)
    model.model.keyword_branch.table.mul_(-1)
    model.save_pretrained(tmp_path / "saved")
    saved = SpeechCLIP.from_pretrained(tmp_path / "saved", device="cpu")
    now, loaded = (m.encode_speech(speech, branch="both") for m in (model, saved))
    assert np.array_equal(loaded, now) and np.abs(loaded - before).max() > 1e-3
    assert saved.keywords(speech) == model.keywords(speech) != []
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "not those that were trained and scored" in card and "70.2" not in card
    assert not (tmp_path / "saved" / "RESULTS.md").exists()


def _change_encoder(model: SpeechCLIP) -> None:
    encoder = model.model.speech_encoder.backend.model.encoder
    encoder.layers[0].layer_norm.weight.data.mul_(2)


def _change_image_tower(model: SpeechCLIP) -> None:
    model._clip_with_images().image_tower.proj.data.mul_(2)


def _change_module(model: SpeechCLIP) -> None:
    model.model.parallel_projection = torch.nn.Identity()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (_change_encoder, r"speech_encoder.backend.model.encoder.layers.0.layer_norm.weight: not "),
        (_change_image_tower, "clip.image_tower.proj: not as in .*source"),
        (_change_module, "does not describe .*: parallel_projection.0.bias is missing"),
    ],
)
def test_a_change_that_cannot_be_saved_is_named(
    exported: Path, change: Callable[[SpeechCLIP], None], named: str, tmp_path: Path
) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    model.source = shutil.copytree(exported, tmp_path / "source")
    change(model)
    with pytest.raises(ValueError, match=named):
        model.save_pretrained(tmp_path / "saved")
    shutil.rmtree(tmp_path / "source")
    with pytest.raises(FileNotFoundError, match="source: no such file"):
        model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
