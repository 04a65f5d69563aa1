from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.plan import Assumptions, encoder_tera_flop, main, plan


def test_arithmetic_of_hubert_base_by_hand() -> None:
    # 49 frames: 12 layers of 4 d^2 + 2 d f weights and two products of frames x frames, the
    # positions' convolution, the seven convolutions, the projection to d
    frames, dim, inner = 49, 768, 3072
    layers = 12 * frames * (4 * dim**2 + 2 * dim * inner + 2 * frames * dim)
    positions = (frames + 1) * dim * (dim // 16) * 128
    lengths = [3199, 1599, 799, 399, 199, 99, 49]
    widths = [10, 3, 3, 3, 3, 2, 2]
    ends = [1] + 6 * [512]
    convolutions = sum(n * 512 * c * w for n, c, w in zip(lengths, ends, widths, strict=True))
    by_hand = 2 * (layers + positions + convolutions + frames * 512 * dim) / 1e12
    assert encoder_tera_flop("base", 1.0) == pytest.approx(by_hand, rel=1e-3)


def test_a_plan_by_hand() -> None:
    given = Assumptions(3600, 720, 1.0, 10.0, batch_size=36, gpus=3, scaling=0.5, disk=1e9)
    made = plan(given)
    assert made["hours of speech"] == 1
    assert made["updates"] == 1000
    assert made["GB of stored states"] == pytest.approx(3600 * 50 * 13 * 768 * 1.003 / 1e9)
    once = made["GPU hours to store the states"]
    assert made["GPU hours from audio"] == pytest.approx(10 * once * 1.15)
    assert made["GPU hours from stored states"] == pytest.approx(10 * once * 0.15)
    assert made["days from audio"] == pytest.approx(made["GPU hours from audio"] / 2 / 24)


def test_every_assumption_is_shown_and_can_be_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "plan.json"
    main(["--corpus", "flickr8k", "--passes", "2", "--gpu", "H100", "--output", str(output)])
    shown = capsys.readouterr().out
    for name in Assumptions.__dataclass_fields__:
        assert f"--{name} " in shown
    assert "--passes 2.0" in shown
    assert json.loads(output.read_text())["flickr8k"]["gpu"] == "H100"
    with pytest.raises(SystemExit, match="nowhere"):
        main(["--corpus", "nowhere"])
