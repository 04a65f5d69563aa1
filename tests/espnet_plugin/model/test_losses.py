"""The contrastive loss against a loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espnet_plugin.model.bounds import keep_in_bounds
from espnet_plugin.model.gather import gather_features, own_rows
from espnet_plugin.model.losses import MaskedContrastiveLoss


def loss_by_loop(a, b, ids, scale):
    total = 0.0
    for first, second in ((a, b), (b, a)):
        for i in range(len(first)):
            positive = float(scale * first[i] @ second[i])
            others = [j for j in range(len(a)) if ids[j] != ids[i]]
            terms = [positive, *(float(scale * first[i] @ second[j]) for j in others)]
            total += -positive + math.log(sum(math.exp(term) for term in terms))
    return total / (2 * len(a))


@pytest.mark.parametrize("ids", [[0, 1, 2, 3], [0, 0, 1, 2]])
def test_equals_the_obvious_loop(ids):
    torch.manual_seed(0)
    a, b = F.normalize(torch.randn(2, 4, 5), dim=-1)
    expected = loss_by_loop(a, b, ids, 1 / 0.07)
    loss = MaskedContrastiveLoss(margin=0.0, decoupled=False, directions="both")
    assert loss(a, b, torch.tensor(ids)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("option", [("margin", 0.2), ("decoupled", True), ("directions", "a_to_b")])
def test_other_objectives_of_the_original_do_not_train(option):
    with pytest.raises(ValueError, match=f"loss_conf: .*{option[0]} {option[1]}.* leave the three"):
        MaskedContrastiveLoss(**dict([option]))


@pytest.mark.parametrize("learnable", [False, True])
def test_scale_starts_at_most_at_its_limit(learnable):
    loss = MaskedContrastiveLoss(initial_temperature=1e-9, learnable=learnable)
    assert loss.scale.item() == pytest.approx(100.0)


def test_a_loaded_scale_above_the_limit_is_brought_back():
    loss = nn.ModuleDict({"loss": MaskedContrastiveLoss()})
    loss.load_state_dict({"loss.log_scale": torch.tensor(150.0)})
    a = F.normalize(torch.randn(3, 4), dim=-1)
    assert loss["loss"].scale.item() == pytest.approx(100.0)
    assert torch.isfinite(loss["loss"](a, a, torch.arange(3)))


def test_scale_comes_back_from_its_limit_and_never_passes_it():
    torch.manual_seed(0)
    loss = MaskedContrastiveLoss(initial_temperature=0.011)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.1)
    loss.log_scale.grad = torch.tensor(-20.0)
    optimizer.step()
    assert loss.scale.item() > 600
    keep_in_bounds(loss)
    assert loss.scale.item() == pytest.approx(100.0)
    a, b = F.normalize(torch.randn(2, 6, 4), dim=-1)  # random pairs want a lower scale
    for _ in range(200):
        optimizer.zero_grad()
        loss(a, b).backward()
        optimizer.step()
        keep_in_bounds(loss)
    assert loss.scale.item() < 50


def test_a_batch_of_one_image_has_no_negatives():
    a = F.normalize(torch.randn(3, 4), dim=-1).requires_grad_()
    loss = MaskedContrastiveLoss()(a, a.detach(), torch.zeros(3))
    loss.backward()
    assert float(loss) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(a.grad).all()


def test_shapes_must_fit():
    with pytest.raises(ValueError, match="do not fit"):
        MaskedContrastiveLoss()(torch.zeros(3, 2), torch.zeros(4, 2))


def test_one_process_gathers_nothing():
    features = torch.randn(2, 3)
    assert gather_features(features) is features
    assert own_rows(features) == slice(0, 2)


def test_parts_of_the_rows_weighted_by_their_number_are_the_whole():
    torch.manual_seed(0)
    a, b = F.normalize(torch.randn(2, 5, 4), dim=-1)
    loss = MaskedContrastiveLoss()
    for ids in (None, torch.tensor([0, 1, 0, 2, 2]), torch.zeros(5)):
        parts = [loss(a, b, ids, own=slice(0, 2)), loss(a, b, ids, own=slice(2, 5))]
        joined = (2 * parts[0] + 3 * parts[1]) / 5
        torch.testing.assert_close(joined, loss(a, b, ids), atol=1e-6, rtol=1e-5)
