"""The loss over all pictures against a loop, and a bank that fills from batches."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from espnet_plugin.speechclip.losses import bank_loss
from espnet_plugin.train.image_bank import ImageBank


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.mark.parametrize("softness", [0.0, 0.3, 1.0])
def test_equals_the_obvious_loop(softness):
    speech, bank, targets, scale = unit(3, 4), unit(5, 4, seed=1), [4, 0, 4], 7.0
    total = 0.0
    for a, p in zip(speech, targets, strict=True):
        logits = [scale * float(a @ v) for v in bank]
        normaliser = math.log(sum(map(math.exp, logits)))
        alike = [math.exp(float(bank[p] @ v) / 0.05) for v in bank]
        for j, logit in enumerate(logits):
            share = (1 - softness) * (j == p) + softness * alike[j] / sum(alike)
            total -= share * (logit - normaliser)
    loss = bank_loss(speech, torch.tensor(targets), bank, torch.tensor(scale), softness=softness)
    assert loss.item() == pytest.approx(total / 3, rel=1e-5)


def test_gradients():
    speech, bank = unit(3, 4).double().requires_grad_(), unit(5, 4, seed=1).double()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([1, 0, 4])
    assert torch.autograd.gradcheck(
        lambda a, s: bank_loss(a, targets, bank, s, softness=0.3), (speech, scale)
    )


def test_batches_fill_it_and_order_does_not_matter():
    images = unit(6, 4)
    whole, parts = ImageBank(softness=0.3), ImageBank(softness=0.3)
    whole.add(torch.arange(6), images)
    for ids in ([5, 2], [2, 0, 2], [3, 1, 4], [1]):
        parts.add(torch.tensor(ids), images[ids])
    assert parts.ids.tolist() == list(range(6))
    torch.testing.assert_close(parts.embeddings, images)
    speech, ids, scale = unit(2, 4, seed=1), torch.tensor([4, 0]), torch.tensor(9.0)
    torch.testing.assert_close(parts(speech, ids, scale), whole(speech, ids, scale))
    assert not parts.state_dict()


@pytest.mark.parametrize("options", [{"softness": 1.5}, {"temperature": 0.0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="softness must be in"):
        ImageBank(**options)
