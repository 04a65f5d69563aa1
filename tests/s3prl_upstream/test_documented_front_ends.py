"""The configurations of README.md and docs/espnet.md build what they promise."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from espnet2.asr.frontend.s3prl import S3prlFrontend
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.slu import SLUTask

import s3prl_upstream
from tests.tiny import HUBERT_DIM, HUBERT_LAYERS

PROJECT = Path(__file__).parents[2]
STATES = HUBERT_LAYERS + 2  # the first layer's input and the trained part's output
WAVES = 0.1 * torch.randn(2, 9600, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([9600, 8000])


def front_ends(document: str) -> list[dict[str, Any]]:
    """All YAML blocks of a document that choose s3prl's front end, fenced or indented."""
    text = (PROJECT / document).read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"^    frontend: .*\n(?:    \w+: .*\n)+", text, re.MULTILINE)
    found = [yaml.safe_load(block) for block in blocks]
    return [config for config in found if config.get("frontend") == "s3prl"]


DOCUMENTED = {
    f"{document} {number}": config
    for document in ("README.md", "docs/espnet.md")
    for number, config in enumerate(front_ends(document))
}


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    s3prl_upstream.register()


def of_model(config: dict[str, Any], model: Path) -> dict[str, Any]:
    """The documented options of the front end, with a model that exists."""
    options = config["frontend_conf"]
    return {**options, "frontend_conf": {**options["frontend_conf"], "path_or_url": str(model)}}


def test_there_are_two() -> None:
    assert list(DOCUMENTED) == ["README.md 0", "docs/espnet.md 0"]


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_front_end_sums_all_states(name: str, model_dir: Path) -> None:
    front_end = S3prlFrontend(**of_model(DOCUMENTED[name], model_dir))
    weights = front_end.featurizer.weights
    assert weights.shape == (STATES,)
    features, _ = front_end(WAVES, LENGTHS)
    features.square().sum().backward()
    assert features.shape[-1] == HUBERT_DIM
    assert (weights.grad != 0).all()
    assert not any(p.requires_grad for p in front_end.upstream.parameters())


@pytest.mark.parametrize("task", [ASRTask, SLUTask])
def test_the_complete_configuration_is_a_model_that_learns(
    task: type[ASRTask], model_dir: Path, tmp_path: Path
) -> None:
    config = DOCUMENTED["docs/espnet.md 0"]
    assert config["preencoder_conf"]["input_size"] == 768
    config = {
        **config,
        "frontend_conf": of_model(config, model_dir),
        "preencoder_conf": {**config["preencoder_conf"], "input_size": HUBERT_DIM},
        "encoder_conf": {**config["encoder_conf"], "num_blocks": 1},
        "decoder_conf": {**config["decoder_conf"], "num_blocks": 1},
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "tokens").write_text("<blank>\n<unk>\na\nb\n<sos/eos>\n")
    arguments = ["--config", tmp_path / "train.yaml", "--output_dir", tmp_path / "exp"]
    arguments += ["--token_list", tmp_path / "tokens", "--token_type", "char"]
    model = task.build_model(task.get_parser().parse_args(list(map(str, arguments))))
    text, text_lengths = torch.tensor([[2, 3, 2], [3, 2, 3]]), torch.tensor([3, 3])
    loss, *_ = model(WAVES, LENGTHS, text, text_lengths)
    loss.backward()
    assert (model.frontend.featurizer.weights.grad != 0).all()
    assert model.extract_feats_in_collect_stats is False
    assert type(model.normalize).__name__ == "UtteranceMVN"


def test_a_forgotten_launcher_is_an_empty_assertion(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What docs/troubleshooting.md says it looks like."""
    import s3prl.hub

    monkeypatch.delattr(s3prl.hub, "speechclip_plus")
    with pytest.raises(AssertionError) as caught:
        S3prlFrontend(**of_model(DOCUMENTED["README.md 0"], model_dir))
    assert not caught.value.args
    assert "available_names()" in str(caught.traceback[-1].statement)
