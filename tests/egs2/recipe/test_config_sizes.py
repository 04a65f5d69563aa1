"""The released set-ups have as many trained parameters as the released checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.model.losses import MaskedContrastiveLoss

TUNING = Path(__file__).parents[3] / "egs2" / "speechclip_plus" / "conf" / "tuning"
# layer weights, block, projections, queries, keyword norm, CIF and, where it is learned, the
# temperature, as counted in the checkpoints' lists of weights
TRAINED = {
    "flickr8k_base_cascaded": 2_771_981,
    "flickr8k_base_cascaded_plus": 4_529_679,
    "flickr8k_base_hybrid": 3_166_478,
    "flickr8k_base_hybrid_plus": 4_924_175,
    "flickr8k_base_parallel": 7_483_917,
    "flickr8k_large_hybrid": 7_895_578,
    "flickr8k_large_hybrid_plus": 9_974_811,
    "flickr8k_large_parallel": 13_386_522,
    "spokencoco_large_cascaded_plus": 16_527_643,
    "spokencoco_large_hybrid": 15_243_801,
    "spokencoco_large_hybrid_plus": 9_974_811,
}


class Frozen(torch.nn.Module):
    """A frozen model's sizes, without weights."""

    def __init__(self, **sizes: int) -> None:
        super().__init__()
        for name, value in sizes.items():
            setattr(self, name, value)


def trained_parameters(name: str) -> int:
    config = yaml.safe_load((TUNING / f"{name}.yaml").read_text())
    large = "large" in name
    encoder = Frozen(num_layers=25 if large else 13, dim=1024 if large else 768)
    width = 768 if large else 512
    clip = Frozen(
        embedding_dim=width, token_dim=width, sot_id=49406, eot_id=49407, context_length=77
    )
    config["keyword_vocabulary"] = list(range(1000, 1010))
    model = build_speechclip(
        config, speech_encoder=encoder, clip=clip, token_table=torch.randn(10, width)
    )
    parameters = [*model.parameters(), *MaskedContrastiveLoss(**config["loss_conf"]).parameters()]
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


@pytest.mark.parametrize("name", TRAINED)
def test_as_many_parameters_as_the_checkpoint(name: str) -> None:
    assert trained_parameters(name) == TRAINED[name]


def test_every_released_set_up_is_here() -> None:
    full_size = {
        path.stem
        for path in TUNING.glob("*.yaml")
        if not path.stem.startswith(("mini_", "digits_", "custom_"))
    }
    released = {name for name in full_size if not name.endswith(("_annealed", "_original"))}
    assert len(released) == 15
    assert set(TRAINED) < released
