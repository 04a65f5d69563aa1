from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from espnet_plugin.bin.speechclip import main
from tests.parity.fixtures import DIRECTORY
from tests.released import (
    plausible_config,
    random_weights,
    read_skeleton,
    write_lightning,
)

SKELETON = DIRECTORY / "skeleton_base_hybrid_plus.json"
needs_skeleton = pytest.mark.skipif(not SKELETON.is_file(), reason=f"no {SKELETON.name}")


@needs_skeleton
def test_converts_and_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    weights = random_weights(read_skeleton(SKELETON), shrink=16)
    path, out = tmp_path / "released.ckpt", tmp_path / "out"
    write_lightning(path, weights, plausible_config(weights))
    main(["convert", str(path), str(out), "--compatibility", "norm_over_padding"])
    printed = capsys.readouterr().out
    assert f"{path}: hybrid+\n" in printed
    assert "keyword vocabulary of 8,112, recovered" in printed
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["model_conf"]["compatibility"]["norm_over_padding"] is True
    with pytest.raises(SystemExit, match="--force"):
        main(["convert", str(path), str(out)])
    main(["convert", str(path), str(out), "--force"])


def test_faults_end_with_one_message(tmp_path: Path) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(SystemExit, match="speechclip: error: .*x.ckpt: not a Lightning"):
        main(["convert", str(tmp_path / "x.ckpt"), str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="absent.ckpt: no such file"):
        main(["convert", str(tmp_path / "absent.ckpt"), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
