"""The forms of --speech_upstream, and what is refused before stage 1."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espnet_plugin.tasks.upstream import NamedEncoder, parse_upstream, require_upstream


@pytest.mark.parametrize(
    ("text", "upstream"),
    [
        ("hubert_base", NamedEncoder("s3prl", "hubert_base")),
        ("s3prl:wavlm_base:x/y:z.pt", NamedEncoder("s3prl", "wavlm_base", "x/y:z.pt")),
        ("microsoft/wavlm-base", NamedEncoder("huggingface", "microsoft/wavlm-base")),
        ("downloads/mini/hubert", NamedEncoder("huggingface", "downloads/mini/hubert")),
        ("huggingface:name", NamedEncoder("huggingface", "name")),
        ("whisper:openai/whisper-base", NamedEncoder("whisper", "openai/whisper-base")),
        ("w2v_bert:facebook/w2v-bert-2.0", NamedEncoder("w2v_bert", "facebook/w2v-bert-2.0")),
        ("folder", NamedEncoder("huggingface", "folder")),
    ],
)
def test_each_form(text: str, upstream: NamedEncoder, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_upstream(text) == upstream


def test_a_wrong_word_is_named() -> None:
    with pytest.raises(ValueError, match=r"wisper is not known .did you mean whisper.."):
        parse_upstream("wisper:openai/whisper-base")


def test_what_cannot_be_had_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"facebok/hubert is not in the cache .*Check the"):
        require_upstream(NamedEncoder("huggingface", "facebok/hubert"), made_later=True)
    folder = tmp_path / "hubert"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        require_upstream(NamedEncoder("huggingface", str(folder)))
    require_upstream(NamedEncoder("huggingface", str(folder)), made_later=True)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(ValueError, match=f"whisper, which whisper:{folder} reads; huggingface"):
        require_upstream(NamedEncoder("huggingface", str(folder)))
    require_upstream(NamedEncoder("whisper", str(folder)))


def test_a_name_that_s3prl_does_not_have_is_refused() -> None:
    pytest.importorskip("s3prl")
    with pytest.raises(ValueError, match=r"no upstream 'hubert_bse' .did you mean hubert_base.."):
        require_upstream(NamedEncoder("s3prl", "hubert_bse"))
    with pytest.raises(FileNotFoundError, match="x.pt: there is no such checkpoint"):
        require_upstream(NamedEncoder("s3prl", "hubert_local", "x.pt"))
