"""The naming loss against a loop, and tags of images by a text tower that is known."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.vocabulary import KeywordVocabulary
from espnet_plugin.train.image_bank import ImageBank
from espnet_plugin.train.naming import (
    SCALE,
    ImageTagger,
    NamingLoss,
    freezing_temperature,
    naming_loss_of,
    train_reader,
)

IDS = list(range(10, 18))
COUNTS = [400, 90, 80, 70, 60, 50, 40, 30]  # the first one is in nearly every text
VECTORS = torch.eye(8)
VECTORS[0] *= 0.1  # and changes a text little, as function words do


def sums(tokens: list[list[int]]) -> Tensor:
    """A text tower that adds up its tokens' vectors."""
    return F.normalize(torch.stack([VECTORS[[i - 10 for i in text]].sum(0) for text in tokens]))


@pytest.fixture(scope="module")
def reader() -> tuple[Tensor, Tensor]:
    return train_reader(SimpleNamespace(encode_tokens=sums), IDS, COUNTS)


def pictures(things: list[list[int]]) -> Tensor:
    """Images that lie apart from all texts, as CLIP's do."""
    apart = torch.full((8,), 3.0)
    return F.normalize(torch.stack([VECTORS[rows].sum(0) for rows in things]) + apart, dim=-1)


def test_tags_are_what_an_image_shows(reader: tuple[Tensor, Tensor]) -> None:
    things = [[a, b] for a in range(1, 8) for b in range(1, 8) if a < b]
    images = pictures([[0, *shown] for shown in things])
    tags = ImageTagger(*reader, images)(images)  # (images, 8)
    assert torch.allclose(tags.sum(1), torch.ones(len(images)))
    for shown, weights in zip(things, tags, strict=True):
        assert set(weights.topk(2).indices.tolist()) == set(shown)
        assert weights[shown].sum() > 0.9
    assert tags[:, 0].max() < 0.1  # all images have it, so it says little


def test_tags_are_the_share_of_the_divergence_from_the_mean() -> None:
    reader = nn.Linear(2, 3)
    images = F.normalize(torch.tensor([[1.0, 0.2], [0.3, 1.0], [-1.0, 0.5]]), dim=-1)
    tags = ImageTagger(reader.weight, reader.bias, images)(images[:1])[0]
    inputs = [F.normalize(image - images.mean(0), dim=0) * SCALE for image in images]
    read = [reader(row).softmax(dim=0).tolist() for row in inputs]
    mean = [sum(column) / 3 for column in zip(*read, strict=True)]
    weights = [p * max(0.0, math.log(p / q)) for p, q in zip(read[0], mean, strict=True)]
    expected = [weight / sum(weights) for weight in weights]
    assert tags.tolist() == pytest.approx(expected, abs=1e-5)


def test_the_reader_is_the_same_again_and_leaves_the_random_numbers_alone(
    reader: tuple[Tensor, Tensor],
) -> None:
    state = torch.get_rng_state()
    again = train_reader(SimpleNamespace(encode_tokens=sums), IDS, COUNTS)
    assert all(map(torch.equal, again, reader))
    assert torch.equal(state, torch.get_rng_state())


def test_a_vocabulary_without_counts_is_refused() -> None:
    branch = SimpleNamespace(vocabulary=SimpleNamespace(ids=(1, 2), counts=()))
    model = SimpleNamespace(keyword_branch=branch)
    with pytest.raises(ValueError, match="made from captions or from --vocab_text"):
        naming_loss_of(model, ImageBank())


def test_what_no_keyword_may_choose_is_no_tag() -> None:
    things = [[a, b] for a in range(1, 8) for b in range(1, a)]
    images = pictures([[0, *shown] for shown in things])
    bank = ImageBank(temperature=0.1)
    bank.fill(torch.arange(len(things)), images)
    counts = (4000, *COUNTS[1:])  # as of padding, where that is counted
    vocabulary = KeywordVocabulary(tuple(IDS), frozenset(IDS[:1]), counts)
    model = SimpleNamespace(
        keyword_branch=SimpleNamespace(vocabulary=vocabulary, table=VECTORS + 1),
        clip=SimpleNamespace(encode_tokens=sums),
    )
    tags = naming_loss_of(model, bank).tagger(images)  # (images, 8)
    assert tags[:, 0].max() < 0.1
    assert all(row[shown].sum() > 0.9 for row, shown in zip(tags, things, strict=True))


def test_equals_the_obvious_loop() -> None:
    draw = torch.Generator().manual_seed(0)
    cosines = torch.rand(2, 3, 4, generator=draw) * 2 - 1
    cosines[:, :, 3] = -torch.inf  # a sub-word that must not be chosen
    tags = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.0, 0.1, 0.9, 0.0]])
    said = torch.tensor([[1.0, 0.4, 0.0], [0.9, 1.0, 1.0]])  # 0 is padding
    temperature, total = 0.3, 0.0
    for utterance in range(2):
        for word in range(3):
            missed = 1.0
            for slot, is_said in zip(cosines[utterance], said[utterance], strict=True):
                powers = [math.exp(float(cosine) / temperature) for cosine in slot]
                missed *= 1 - float(is_said) * powers[word] / sum(powers)
            total -= float(tags[utterance, word]) * math.log(1 - missed)
    loss = NamingLoss(lambda _: tags, temperature=temperature)
    assert loss(cosines, said, torch.zeros(2, 5)).item() == pytest.approx(total / 2, rel=1e-4)


def test_naming_a_tag_again_gains_nothing() -> None:
    tags = torch.tensor([[0.5, 0.5, 0.0]])
    loss = NamingLoss(lambda _: tags, temperature=0.01)
    once = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    twice = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    said = torch.ones(1, 2)
    assert loss(once, said, tags).item() == pytest.approx(0.0, abs=1e-4)
    # one of two tags is named, however surely: half of -log(1e-6)
    assert loss(twice, said, tags).item() == pytest.approx(0.5 * -math.log(1e-6), rel=1e-3)


def test_the_loss_has_gradients_where_nothing_is_named_and_where_all_is() -> None:
    tags = torch.tensor([[1.0, 0.0]])
    for certain in (-1.0, 1.0):
        cosines = torch.tensor([[[certain, -certain]]], requires_grad=True)
        NamingLoss(lambda _: tags, temperature=0.2)(cosines, torch.ones(1, 1), tags).backward()
        assert torch.isfinite(cosines.grad).all() and cosines.grad[0, 0, 0] <= 0


def test_freezing_temperature() -> None:
    # cosines of the three pairs: 0, 0 and 1; their deviation with each counted twice
    table = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    deviation = math.sqrt(2 * (1 - 1 / 3) ** 2 / 5 + 4 * (1 / 3) ** 2 / 5)
    assert freezing_temperature(table) == pytest.approx(deviation / math.sqrt(2 * math.log(3)))
