from __future__ import annotations

import re
from pathlib import Path

import pytest

from espnet_plugin.pretrained.names import resolve_model
from espnet_plugin.pretrained.released import (
    ReleasedModel,
    nearest_names,
    released_as,
    released_model,
    released_models,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"
MODELS = released_models()


def test_there_are_fifteen_with_names_and_files_of_their_own() -> None:
    assert len(MODELS) == 15
    assert len({(model.repository, model.path) for model in MODELS}) == 15
    assert [released_as(Path(model.path).name) for model in MODELS] == MODELS
    assert released_model("flickr8k-base-hybrid-plus") in MODELS
    assert released_model("flickr8k-base-hybrid+") is None


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_row_agrees_with_its_name_and_with_its_file(model: ReleasedModel) -> None:
    size = model.speech_encoder.split()[-1]
    corpus = {"Flickr8k": "flickr", "SpokenCOCO": "coco"}[model.corpus]
    architecture = model.architecture.replace("+", "-plus")
    assert model.name == f"{model.corpus.lower()}-{size}-{architecture}"
    assert model.clip == {"base": "ViT-B/32", "large": "ViT-L/14"}[size]
    folder, _, file = model.path.rpartition("/")
    assert folder == f"{size}/{corpus}/{model.architecture}"
    rank, recall = re.fullmatch(r"epoch.+val_recall_mean_(\d+)[_=]([\d.]+)\.ckpt", file).groups()
    assert (model.recall_at, model.recall) == (int(rank), round(float(recall), 2))
    older = model.architecture in ("parallel", "cascaded")
    assert model.repository == ("speechclip/models" if older else "ShampooWang/speechclip_plus")
    assert model.code_licence == ("BSD-3-Clause" if older else None)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("flickr8k-base-hybird-plus", "flickr8k-base-hybrid-plus"),
        ("Flickr8k_Base_Hybrid+", "flickr8k-base-hybrid-plus"),
        ("spoken-coco-large-parallel", "spokencoco-large-parallel"),
    ],
)
def test_a_misspelt_name_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    assert nearest_names(name)[0] == nearest
    with pytest.raises(FileNotFoundError, match=f"{re.escape(name)}: .* name are {nearest}, "):
        resolve_model(name)
    with pytest.raises(FileNotFoundError, match="no such file or directory; expected"):
        resolve_model("nothing-of-the-kind")


def test_what_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flickr8k-base-hybrid").mkdir()
    for name in ("config.yaml", "model.safetensors"):
        Path("flickr8k-base-hybrid", name).touch()
    assert resolve_model("flickr8k-base-hybrid") == Path("flickr8k-base-hybrid")


def test_the_table_of_the_documentation() -> None:
    rows = []
    for model in MODELS:
        recalls = [f"{model.recall:.2f}" if model.recall_at == k else "–" for k in (1, 10)]
        rows.append(f"| `{model.name}` | {' | '.join(recalls)} |")
    assert "\n".join(rows) in DOCUMENT.read_text(encoding="utf-8")
