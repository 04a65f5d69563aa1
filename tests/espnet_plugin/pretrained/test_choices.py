"""What was selected on dev: a file beside the weights, or model_conf of older models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from espnet_plugin import SpeechCLIP
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.pretrained.choices import Choices, take_choices
from tests.sounds import murmur

CHOSEN = {"min_score": 0.22, "fusion_weight": 0.45}
BOTH = {**CHOSEN, "branch": "both"}  # as it is read: searches ranked so


def chosen_by(source: Path) -> dict[str, float | str]:
    model = SpeechCLIP.from_pretrained(source, device="cpu")
    found = {name: getattr(model, name) for name in ("min_score", "fusion_weight", "branch")}
    return {name: value for name, value in found.items() if value is not None}


@pytest.fixture
def older(exported: Path, tmp_path: Path) -> Path:
    """A model as it was saved when model_conf held the choices."""
    shutil.copytree(exported, tmp_path / "older")
    file = tmp_path / "older" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["model_conf"] |= CHOSEN
    file.write_text(yaml.safe_dump(config))
    return tmp_path / "older"


def test_models_that_have_them_in_model_conf_keep_them(older: Path, tmp_path: Path) -> None:
    assert chosen_by(older) == BOTH
    assert not hasattr(load_speechclip(older), "min_score")  # the network does not know
    SpeechCLIP.from_pretrained(older, device="cpu").save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "choices.json").read_text()) == BOTH
    saved = yaml.safe_load((tmp_path / "saved" / "config.yaml").read_text())
    assert not CHOSEN.keys() & saved["model_conf"].keys()
    assert chosen_by(tmp_path / "saved") == BOTH


def test_the_file_counts_more_than_model_conf(older: Path) -> None:
    (older / "choices.json").write_text('{"min_score": 0.5}')
    assert chosen_by(older) == {"min_score": 0.5}


def test_the_branch_is_kept_with_the_model(older: Path, tmp_path: Path) -> None:
    chosen = {**CHOSEN, "branch": "cascaded"}
    (older / "choices.json").write_text(json.dumps(chosen))
    assert chosen_by(older) == chosen
    SpeechCLIP.from_pretrained(older, device="cpu").save_pretrained(tmp_path / "saved")
    assert chosen_by(tmp_path / "saved") == chosen


def test_a_weight_without_a_branch_ranks_by_both(older: Path) -> None:
    (older / "choices.json").write_text('{"fusion_weight": 0.25}')
    model = SpeechCLIP.from_pretrained(older, device="cpu")
    speech = murmur(6000)
    rows = [model.encode_speech(speech, branch=branch) for branch in ("parallel", "cascaded")]
    summed = 0.25 * rows[0] + 0.75 * rows[1]
    expected = summed / np.linalg.norm(summed, axis=1, keepdims=True)
    np.testing.assert_allclose(model.encode_speech(speech), expected, atol=1e-6)


def test_without_either_nothing_is_chosen(exported: Path, tmp_path: Path) -> None:
    model = SpeechCLIP.from_pretrained(exported, device="cpu")
    assert (model.min_score, model.fusion_weight) == (-1.0, None)
    model.min_score = 0.3
    model.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "choices.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "expected names and values, got list"),
        ('{"minscore": 0.1}', "'minscore' is unknown; expected min_score, fusion_weight, branch"),
        ('{"min_score": null}', "min_score is None; expected a number from -1 to 1"),
        ('{"min_score": NaN}', "min_score is nan"),
        ('{"min_score": true}', "min_score is True"),
        ('{"fusion_weight": "1"}', "fusion_weight is '1'; expected a number from 0 to 1"),
        ('{"fusion_weight": 1.5}', "fusion_weight is 1.5"),
        ('{"branch": "sum"}', "branch is 'sum'; expected parallel, cascaded, both"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_name(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "choices.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"^{file}: {message}"):
        take_choices({}, file)


def test_older_choices_are_checked_too(tmp_path: Path) -> None:
    config = {"model_conf": {"parallel": True, "fusion_weight": None, "min_score": 1}}
    assert take_choices(config, tmp_path / "none.json") == Choices(1, None)
    assert config == {"model_conf": {"parallel": True}}
    with pytest.raises(ValueError, match="^model_conf: min_score is 'high'"):
        take_choices({"model_conf": {"min_score": "high"}}, tmp_path / "none.json")
