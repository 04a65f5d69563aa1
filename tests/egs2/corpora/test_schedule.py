from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from local.custom.schedule import fitted_options, main

from tests.egs2.corpora.conftest import RECIPE

CONFIG = {
    "batch_size": 10,
    "max_epoch": 300,
    "scheduler_conf": {"warmup_steps_list": [0, 4000, 20000]},
    "keyword_extractor_conf": {"scaling_steps": 2000},
    "quantizer_conf": {"temperature": [0.1, 0.01, 10000]},
}


def recordings(number: int) -> dict[str, str]:
    """One of each image."""
    return {f"{n}_0": str(n) for n in range(number)}


@pytest.mark.parametrize(
    ("number", "batches", "end"),
    [
        (45, 20, 2_000),  # 300 epochs of 5 batches are too few
        (400, 120, 12_000),  # 300 epochs of 40 batches
        (4_000, 200, 20_000),  # 300 epochs of 400 batches are more than the learning rate has
    ],
)
def test_what_lasts_for_updates_keeps_its_share(number: int, batches: int, end: int) -> None:
    assert fitted_options(CONFIG, recordings(number)) == [
        *("--max_epoch", "100", "--num_iters_per_epoch", str(batches)),
        *("--scheduler_conf", f"warmup_steps_list=[0,{end // 5},{end}]"),
        *("--keyword_extractor_conf", f"scaling_steps={end // 10}"),
        *("--quantizer_conf", f"temperature=[0.1,0.01,{end // 2}]"),
    ]


def test_a_short_configuration_is_not_cut_to_a_tenth() -> None:
    short = {
        "batch_size": 10,
        "max_epoch": 7,
        "scheduler_conf": {"warmup_steps_list": [0, 50, 540]},
    }
    assert fitted_options(short, recordings(45))[-1] == "warmup_steps_list=[0,46,500]"


def test_batches_that_are_accumulated_are_one_update() -> None:
    options = fitted_options(CONFIG | {"accum_grad": 2}, recordings(400))
    assert options[3] == "120" and options[5] == "warmup_steps_list=[0,1200,6000]"


@pytest.mark.parametrize(
    "change", [{"num_iters_per_epoch": 500}, {"scheduler_conf": {"warmup_steps": 10}}]
)
def test_other_schedules_are_left_alone(change: dict) -> None:
    assert fitted_options(CONFIG | change, recordings(95)) == []


@pytest.mark.parametrize(
    ("config", "updates"), [("train", 5_000), ("tuning/small_hybrid_plus_annealed", 500)]
)
def test_the_tutorials_corpus_leaves_its_warm_up(
    config: str,
    updates: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """320 recordings of 64 images had 860 updates, and a warm-up of 5,000."""
    (tmp_path / "ids").write_text("".join(f"{n // 5:02}_{n % 5} {n // 5}\n" for n in range(320)))
    caplog.set_level("INFO")
    path = RECIPE / "conf" / f"{config}.yaml"
    main(["--config", str(path), "--utt2image", str(tmp_path / "ids"), "--grad_clip", "1"])
    told = f"{updates:,} updates in 100 epochs, warm-up {updates // 10} "
    assert f"320 training recordings: {told}" in caplog.text
    words = capsys.readouterr().out.split()
    steps = yaml.safe_load(words[words.index("--scheduler_conf") + 1].partition("=")[2])
    assert steps == [0, updates // 10, updates]
