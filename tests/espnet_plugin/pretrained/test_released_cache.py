"""Released checkpoints from a hub on the loopback interface."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from espnet_plugin.pretrained.convert import converter
from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.released import ReleasedModel, released_model
from espnet_plugin.pretrained.released_cache import RECORD_FILE, cache_directory, fetched
from espnet_plugin.pretrained.storage import load_speechclip
from tests.local_hub import LocalHub, commit_id, only_hub
from tests.released_checkpoint import released_checkpoint

NAME = "flickr8k-base-hybrid-plus"
CONTENT, OTHER = released_checkpoint(), released_checkpoint(seed=1)


@pytest.fixture
def model() -> ReleasedModel:
    model = released_model(NAME)
    assert model is not None
    return model


@pytest.fixture
def hub(
    model: ReleasedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalHub]:
    """Has the checkpoint; nothing is cached."""
    monkeypatch.setenv("SPEECHCLIP_CACHE", str(tmp_path / "converted"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # before a download is resumed
    with only_hub(monkeypatch, tmp_path / "hub") as hub:
        hub.repositories[model.repository] = {model.path: CONTENT}
        yield hub


def remains() -> list[str]:
    """What the cache holds, but for locks."""
    return sorted(p.name for p in cache_directory().iterdir() if not p.name.endswith(".lock"))


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_name_is_fetched_once_and_said_what_it_is(
    hub: LocalHub,
    model: ReleasedModel,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    directory = resolve_model(NAME)
    assert directory == cache_directory() / NAME and remains() == [NAME]
    assert "hybrid+ of SpeechCLIP+ (arXiv:2402.06959) with HuBERT base" in caplog.text
    assert "81.03 % mean recall@10 on the validation set" in caplog.text
    assert "the authors publish none for the checkpoint" in caplog.text
    assert f"downloading 6.4 MiB from {hub.endpoint}/{model.repository}" in caplog.text
    record = fetched(model)
    assert record is not None
    assert record.revision == commit_id(hub.repositories[model.repository])
    assert (record.sha256, record.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert [download.path for download in hub.downloads] == [model.path]

    offline(monkeypatch)
    caplog.clear()
    assert resolve_model(NAME) == directory
    assert len(hub.downloads) == 1 and not caplog.text
    assert load_speechclip(NAME, image_tower=False).keyword_branch is not None


def test_offline_what_is_missing_is_named(
    hub: LocalHub, model: ReleasedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    offline(monkeypatch)
    with pytest.raises(FileNotFoundError) as caught:
        resolve_model(NAME)
    for part in (NAME, model.path, model.repository, "HF_HUB_OFFLINE is set", "speechclip convert"):
        assert part in str(caught.value)
    assert not hub.downloads and remains() == []


def test_a_file_in_the_hubs_cache_is_taken(
    hub: LocalHub,
    model: ReleasedModel,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import hf_hub_download

    file = hf_hub_download(model.repository, model.path)
    offline(monkeypatch)
    resolve_model(NAME)
    assert f"taken from {file}" in caplog.text and "licences:" in caplog.text
    record = fetched(model)
    assert record is not None and record.revision == commit_id(hub.repositories[model.repository])


def test_a_download_that_is_cut_off_is_resumed(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1_000_000)
    hub.cut_after = [5_500_000]
    resolve_model(NAME)
    assert [download.start for download in hub.downloads] == [0, 5_000_000]


def test_a_download_that_fails_leaves_nothing(hub: LocalHub, model: ReleasedModel) -> None:
    hub.cut_after = [0] * 50
    with pytest.raises(FileNotFoundError, match=f"{NAME}: not yet in .*cannot be downloaded"):
        resolve_model(NAME)
    assert remains() == []
    hub.cut_after = []
    del hub.repositories[model.repository][model.path]
    with pytest.raises(FileNotFoundError, match=r"cannot be downloaded \(404 Client Error"):
        resolve_model(NAME)
    assert remains() == []


def test_a_file_that_is_not_what_was_announced_is_refused_and_removed(
    hub: LocalHub, model: ReleasedModel
) -> None:
    hub.announced[model.path] = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match="cut off or changed on its way.*try again"):
        resolve_model(NAME)
    assert remains() == []
    hub.announced.clear()
    resolve_model(NAME)
    assert len(hub.downloads) == 2


def test_a_file_that_has_changed_on_the_hub_is_refused(hub: LocalHub, model: ReleasedModel) -> None:
    directory = resolve_model(NAME)
    record = fetched(model)
    hub.repositories[model.repository][model.path] = OTHER
    assert resolve_model(NAME) == directory  # what is here is not asked about
    digests = [hashlib.sha256(content).hexdigest() for content in (CONTENT, OTHER)]
    with pytest.raises(ValueError, match=f"has changed: SHA-256 {digests[0]} before, {digests[1]}"):
        resolve_model(NAME, refresh=True)
    assert fetched(model) == record and remains() == [NAME]
    shutil.rmtree(directory)  # as the message says
    resolve_model(NAME)
    changed = fetched(model)
    assert changed is not None and changed.sha256 == digests[1]


def test_refreshing_downloads_and_converts_again(hub: LocalHub) -> None:
    weights = resolve_model(NAME) / "model.safetensors"
    weights.write_bytes(b"damaged")
    resolve_model(NAME, refresh=True)
    assert len(hub.downloads) == 2 and weights.stat().st_size > 1000


def test_a_model_of_another_format_is_made_anew_of_the_same_revision(
    hub: LocalHub, model: ReleasedModel, tmp_path: Path
) -> None:
    path = resolve_model(NAME) / RECORD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 0}))
    shutil.rmtree(tmp_path / "hub")
    resolve_model(NAME)
    assert [download.revision for download in hub.downloads] == [
        commit_id(hub.repositories[model.repository])
    ] * 2
    record = fetched(model)
    assert record is not None and record.format_version == 1


def test_an_interrupted_conversion_leaves_nothing(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(converter, "write_weights", interrupt)
        with pytest.raises(KeyboardInterrupt):
            resolve_model(NAME)
    assert remains() == []
    for name in (f".{NAME}.77.part", f".{NAME}-of-another.77.part"):
        (cache_directory() / name).mkdir()
        (cache_directory() / f"{name}.lock").touch()
    resolve_model(NAME)
    assert remains() == [f".{NAME}-of-another.77.part", NAME]
    assert len(hub.downloads) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("flickr8k-base-parallel", CONTENT, r"is a hybrid\+ model, not parallel"),
        (NAME, b"<html>Please log in</html>", "cannot be read as weights"),
    ],
)
def test_a_file_of_something_else_is_refused(
    hub: LocalHub, name: str, content: bytes, message: str
) -> None:
    model = released_model(name)
    assert model is not None
    hub.repositories[model.repository] = {model.path: content}
    with pytest.raises(ValueError, match=message):
        resolve_model(name)
    assert remains() == []


@pytest.mark.filterwarnings("ignore:Not enough free disk space")
def test_a_full_disk_is_noticed_before_the_conversion(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(os.sep)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    with pytest.raises(OSError, match="need 6.4 MiB, but .* only 1 MiB free.*SPEECHCLIP_CACHE"):
        resolve_model(NAME)
    assert remains() == []


@pytest.mark.slow
def test_processes_wait_for_each_other(hub: LocalHub, tmp_path: Path) -> None:
    """Both start with nothing; HF_ENDPOINT and HF_HOME are read from the environment."""
    code = f"from espnet_plugin.pretrained import resolve_model; print(resolve_model('{NAME}'))"
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    for name in ("HF_HUB_OFFLINE", "HF_HUB_CACHE"):
        environment.pop(name, None)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [printed for printed, _ in answers] == [f"{cache_directory() / NAME}\n"] * 2, answers
    said = "".join(errors for _, errors in answers)
    assert said.count("licences:") == len(hub.downloads) == 1
    assert remains() == [NAME]
