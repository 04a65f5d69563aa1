"""The term between languages against a loop."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from espnet_plugin.model.losses import MaskedContrastiveLoss
from espnet_plugin.train.cross_lingual import cross_lingual_loss


def cross_lingual_by_loop(speech, ids, languages, scale, rows):
    found = []
    for i in rows:
        for p in range(len(speech)):
            if ids[p] == ids[i] and languages[p] != languages[i]:
                positive = float(scale * speech[i] @ speech[p])
                terms = [positive] + [
                    float(scale * speech[i] @ speech[j])
                    for j in range(len(speech))
                    if languages[j] == languages[p] and ids[j] != ids[i]
                ]
                found.append(-positive + math.log(sum(math.exp(term) for term in terms)))
    return sum(found) / len(found)


@pytest.mark.parametrize("own", [slice(0, 9), slice(3, 7)])
@pytest.mark.parametrize(
    ("ids", "languages"),
    [
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2, 0, 1, 2]),  # parallel batches
        ([0, 1, 0, 2, 0, 2, 3, 1, 0], [5, 5, 5, 5, 7, 7, 7, 7, 7]),  # as mixed ones come
    ],
)
def test_cross_lingual_term_equals_the_obvious_loop(ids, languages, own):
    torch.manual_seed(0)
    speech = F.normalize(torch.randn(9, 5), dim=-1)
    loss = cross_lingual_loss(
        speech, torch.tensor(ids), torch.tensor(languages), torch.tensor(14.0), own=own
    )
    expected = cross_lingual_by_loop(speech, ids, languages, 14.0, range(own.start, own.stop))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_cross_lingual_term_is_that_of_pairs_of_languages():
    """With one caption of each image in each language: the mean of the symmetric losses."""
    torch.manual_seed(1)
    en, es, sw = F.normalize(torch.randn(3, 4, 5), dim=-1)
    loss = MaskedContrastiveLoss()
    pairs = [loss(en, es), loss(en, sw), loss(es, sw)]
    speech, ids = torch.cat([en, es, sw]), torch.arange(4).repeat(3)
    found = cross_lingual_loss(speech, ids, torch.arange(3).repeat_interleave(4), loss.scale)
    assert found.item() == pytest.approx(sum(pairs).item() / 3, rel=1e-5)


@pytest.mark.parametrize("ids", [[0, 1, 2], [0, 0, 0]])  # no pair; no negative
def test_cross_lingual_term_without_pairs_or_negatives_is_zero(ids):
    speech = F.normalize(torch.randn(3, 4), dim=-1).requires_grad_()
    loss = cross_lingual_loss(
        speech, torch.tensor(ids), torch.tensor([0, 1, 2]), torch.tensor(14.0)
    )
    assert loss.item() == 0
    loss.backward()
    assert not speech.grad.any()
