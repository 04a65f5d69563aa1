"""The naming loss against a loop, effects of sub-words on a text tower that is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from espnet_plugin.train.image_bank import ImageBank
from espnet_plugin.train.naming import NamingLoss, freezing_temperature, token_effects

VECTORS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])


def sums(tokens: list[list[int]]) -> Tensor:
    """A text tower that adds up its tokens' vectors; the ids are 10, 11 and 12."""
    return torch.stack([VECTORS[[token - 10 for token in text]].sum(0) for text in tokens])


def test_effects_of_a_linear_text_tower_are_its_vectors_less_their_mean():
    clip = SimpleNamespace(encode_tokens=sums)
    effects = token_effects(clip, [10, 11, 12])
    assert torch.allclose(effects, VECTORS - torch.tensor([1.0, 1.0]))


def test_effects_leave_the_random_numbers_alone():
    state = torch.get_rng_state()
    token_effects(SimpleNamespace(encode_tokens=sums), [10, 11, 12])
    assert torch.equal(state, torch.get_rng_state())


def test_equals_the_obvious_loop():
    draw = torch.Generator().manual_seed(0)
    cosines = torch.rand(2, 3, 4, generator=draw) * 2 - 1
    cosines[:, :, 3] = -torch.inf  # a sub-word that must not be chosen
    effects, images = torch.randn(4, 5, generator=draw), torch.randn(6, 5, generator=draw)
    lengths, ids, scale, temperature = [2, 3], [7, 3], 9.0, 0.3
    bank = ImageBank()
    bank.fill(torch.arange(6) + 3, images)
    unit = F.normalize(images, dim=-1)
    total = 0.0
    for rows, length, image in zip(cosines, lengths, ids, strict=True):
        bag = torch.zeros(5)
        for word in range(3):
            count = 0.0
            for slot in rows[:length, :3]:
                powers = [math.exp(float(cosine) / temperature) for cosine in slot]
                count += powers[word] / sum(powers)
            bag += (1 - math.exp(-count)) * effects[word]
        logits = [scale * float(F.cosine_similarity(bag, v - unit.mean(0), dim=0)) for v in unit]
        total -= logits[image - 3] - math.log(sum(map(math.exp, logits)))
    said = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    loss = NamingLoss(effects, temperature=temperature)(
        cosines, said, bank, torch.tensor(ids), torch.tensor(scale)
    )
    assert loss.item() == pytest.approx(total / 2, rel=1e-5)


def test_a_keyword_that_is_named_twice_hardly_counts_more():
    loss = NamingLoss(torch.eye(3), temperature=0.01)
    bank = ImageBank()
    bank.fill(torch.arange(3), torch.eye(3))
    once = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    twice = torch.cat([once, once[:, :1]], dim=1)
    given = (bank, torch.tensor([0]), torch.tensor(1.0))
    # counts 1 and 1 against 2 and 1: 1 - e^-1 and 1 - e^-2
    shares = torch.tensor([[1 - math.exp(-2), 1 - math.exp(-1), 0.0]])
    cosines = bank.centred_cosines(F.normalize(shares, dim=-1))
    expected = F.cross_entropy(cosines, given[1])
    assert loss(twice, torch.ones(1, 3), *given).item() == pytest.approx(expected.item(), abs=1e-5)
    assert loss(once, torch.ones(1, 2), *given) > expected


def test_freezing_temperature():
    # cosines of the three pairs: 0, 0 and 1; their deviation with each counted twice
    table = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    deviation = math.sqrt(2 * (1 - 1 / 3) ** 2 / 5 + 4 * (1 / 3) ** 2 / 5)
    assert freezing_temperature(table) == pytest.approx(deviation / math.sqrt(2 * math.log(3)))
