"""What a training refuses before ESPnet is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from espnet_plugin.tasks import check
from espnet_plugin.tasks.check import training_options
from espnet_plugin.tasks.speechclip import SpeechCLIPTask

CONF = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "conf"


def test_the_names_are_those_of_the_task() -> None:
    known = {action.dest for action in check._options_parser()._actions}
    assert known == {action.dest for action in SpeechCLIPTask.get_parser()._actions}


def test_command_line_and_file_together() -> None:
    options = ["--config", str(CONF / "train.yaml"), "--model_conf", "naming_weight=0.5"]
    found = training_options([*options, "--optim_conf", "betas=[0.9, 0.98]"])
    assert found["model_conf"]["quantity_weight"] == 0.25
    assert found["model_conf"]["naming_weight"] == 0.5
    assert found["optim_conf"] == {"lr": 1e-8, "weight_decay": 1e-6, "betas": [0.9, 0.98]}


@pytest.mark.parametrize("path", sorted((CONF / "tuning").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_recipes_configurations_pass(path: Path) -> None:
    training_options(["--config", str(path)])


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("batch_sise: 3", (), r"x\.yaml: there is no option batch_sise .did you mean batch_size"),
        ("model_conf: {naming_wieght: 1}", (), r"x\.yaml: model_conf .*did you mean naming_weight"),
        ("model_conf: {paralel: true}", (), "model_conf .* paralel .did you mean parallel"),
        ("loss_conf: {margn: 1}", (), "loss_conf .* margn"),
        ("attention_conf: {heads: 1}", (), "attention_conf .* heads .did you mean num_heads"),
        ("keyword_norm_conf: {num_slots: 3}", (), "keyword_norm_conf .* num_slots"),
        ("optim: adamw\noptim_conf: {lrr: 1}", (), r"optim_conf .* lrr .did you mean lr"),
        ("scheduler: warmuplr\nscheduler_conf: {warm: 1}", (), r"scheduler_conf .* warm"),
        (
            "seed: 1",
            ("--optim", "adamw", "--optim_conf", "wieght_decay=0.1"),
            "optim_conf .* wieght_decay .did you mean weight_decay",
        ),
        ("speech_encoder_conf: {modle: x}", (), "speech_encoder_conf .* modle .did you mean model"),
        ("seed: 1", ("--clip_conf", "modle=x"), "clip_conf .* modle .did you mean model"),
        ("seed: 1", ("--maxepoch", "3"), "--maxepoch: did you mean --max_epoch"),
        ("keyword_extractor: cfi", (), "keyword_extractor: 'cfi' is not known .did you mean cif"),
        ("clip_conf: 3", (), "clip_conf: expected a mapping"),
    ],
)
def test_what_is_unknown_is_named(
    tmp_path: Path, content: str, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        training_options(["--config", str(tmp_path / "x.yaml"), *options])


def test_the_command_says_it_in_one_line_without_the_large_imports(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("model_conf: {naming_wieght: 1}")
    code = f"""
import sys
from espnet_plugin.bin.speechclip_train import main
try:
    main(["--config", {str(tmp_path / "x.yaml")!r}])
finally:
    print([name for name in ("transformers", "espnet2.tasks", "nltk") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "[]\n")
    [line] = ended.stderr.splitlines()
    assert line.startswith("speechclip_train: error: ") and "did you mean naming_weight" in line
