"""The model that the repository holds: a small folder that answers as what was packed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from local.digits.publish import SUBWORDS, card, main
from local.shared.reduced_tokenizer import ReducedTokenizer
from safetensors.torch import load_file

from espnet_plugin import SpeechCLIP
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.pretrained import save_speechclip
from espnet_plugin.pretrained.description import describe_model
from espnet_plugin.teachers.clip_weights import ROWS
from s3prl_upstream.expert import UpstreamExpert
from tests.pages import PROJECT
from tests.tiny import tiny_hybrid_plus_config, tiny_whisper_dir

SPEECH = torch.sin(torch.arange(9000.0)).numpy()
SEARCHES = ("speech → image", "image → speech", "speech → text", "text → speech")
SETS = ["dump/raw/digits_train/speech_states.scp", "speech_states", "frames"]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """What stage 10 packs: a Whisper, a CLIP that knows all sub-words, choices and results."""
    digits = ReducedTokenizer(("four", "eight")).full_ids[:2]
    config = tiny_hybrid_plus_config(tmp_path) | {
        "speech_encoder": "whisper",
        "speech_encoder_conf": {"model": str(tiny_whisper_dir(tmp_path))},
        "keyword_vocabulary": digits,
    }
    torch.manual_seed(0)
    folder = tmp_path / "model"
    save_speechclip(build_speechclip(config).eval(), config, folder)
    with (folder / "config.yaml").open("a") as file:
        file.write(f"train_data_path_and_name_and_type: {json.dumps([SETS])}\n")
    (folder / "choices.json").write_text('{"fusion_weight": 0.3, "branch": "both"}\n')
    tables = (f"| {title} | R@1 |\n|---|---|\n| chance | 1 |\n" for title in SEARCHES)
    (folder / "RESULTS.md").write_text("\n".join(["# Results\n", *tables]))
    (folder / "made_from.json").write_text("{}")  # of stage 10, with its machine's paths
    return folder


def test_the_folder_is_a_model_with_a_card(
    packed: Path, voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        main([str(packed), "models", "--data_dir", str(voices)])
    folder = tmp_path / "models"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "RESULTS.md", "choices.json", "clip", "config.yaml", "examples"),
        *("meta.yaml", "model.safetensors", "speech_encoder"),
    ]
    text = (folder / "README.md").read_text()
    assert "license: cc-by-sa-4.0\n" in text and 'from_pretrained("models")' in text
    results = (folder / "RESULTS.md").read_text()
    assert [title for title in SEARCHES if f"| {title} |" in results] == [*SEARCHES[:2]]
    before, after = (SpeechCLIP.from_pretrained(path, device="cpu") for path in (packed, folder))
    assert after.branch == before.branch == "both"
    for encode in ("encode_speech", "encode_text"):
        what = SPEECH if encode == "encode_speech" else ["four eight"]
        rows = [getattr(model, encode)(what) for model in (before, after)]
        assert np.sum(rows[0] * rows[1]) > 0.999
    assert describe_model(folder)["words"] == ["four", "eight"]
    hidden = UpstreamExpert(folder).eval()([torch.from_numpy(SPEECH)])["hidden_states"]
    assert hidden[0].shape[:2] == (1, 29)


def test_the_card_in_the_repository_is_what_publish_writes() -> None:
    folder = PROJECT / "egs2" / "speechclip_plus" / "models" / "digits"
    assert (folder / "README.md").read_text(encoding="utf-8") == card("models/digits")


def test_weights_are_halved_and_other_words_left_out(
    packed: Path, voices: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        main([str(packed), str(tmp_path / name), "--data_dir", str(voices)])
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.saf*"))
    assert [str(file.parent) for file in files] == ["clip", ".", "speech_encoder"]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        floats = [w for w in load_file(tmp_path / "a" / file).values() if w.is_floating_point()]
        assert {weight.dtype for weight in floats} == {torch.float16}
    clip = load_file(tmp_path / "a" / files[0])
    assert len(clip[SUBWORDS]) == len(clip[SUBWORDS + ROWS]) == 12  # digits, start and end of text
    table = load_file(packed / files[0])[SUBWORDS]
    assert len(table) == 49408
    assert torch.equal(clip[SUBWORDS], table[clip[SUBWORDS + ROWS]].half())
