"""Nearest sub-words by hand, by loop, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from espnet_plugin.model.bounds import keep_in_bounds
from espnet_plugin.model.quantizer import (
    TokenQuantizer,
    cosine_similarities,
    diversity_loss,
    perplexity,
    token_usage,
)

TABLE = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
KEYWORDS = torch.tensor([[[2.0, 0.1], [0.1, 0.2], [-1.0, 0.5]]])


def test_chooses_the_nearest_by_angle():
    output = TokenQuantizer().eval()(KEYWORDS, TABLE)
    assert output.rows.tolist() == [[0, 1, 2]]
    assert torch.equal(output.embeddings, TABLE[None])


def test_compares_with_keys_and_reads_the_table():
    keys = TABLE.roll(1, dims=0)
    for quantizer in (TokenQuantizer().eval(), TokenQuantizer(hard=False, temperature=1e-3)):
        output = quantizer(KEYWORDS, TABLE, keys=keys)
        assert output.rows.tolist() == [[1, 2, 0]]
        torch.testing.assert_close(output.embeddings, TABLE[output.rows])


def test_similarities_equal_a_loop():
    ours = cosine_similarities(KEYWORDS, TABLE)
    for slot, keyword in enumerate(KEYWORDS[0]):
        for row, token in enumerate(TABLE):
            expected = keyword @ token / (keyword.norm() * token.norm())
            assert math.isclose(ours[0, slot, row], expected, abs_tol=1e-6)


def test_forbidden_rows_are_never_chosen_and_get_no_gradient():
    keywords = KEYWORDS.clone().requires_grad_()
    quantizer = TokenQuantizer(temperature="learned=0.5")
    output = quantizer(keywords, TABLE, forbidden=torch.tensor([True, False, False]))
    assert 0 not in output.rows
    output.embeddings.sum().backward()
    assert torch.isfinite(keywords.grad).all()
    assert torch.isfinite(quantizer.temperature.grad)


def test_straight_through_gradient_is_that_of_the_soft_mixture():
    hard, soft = KEYWORDS.clone().requires_grad_(), KEYWORDS.clone().requires_grad_()
    TokenQuantizer(temperature=0.3)(hard, TABLE).embeddings.pow(2).sum().backward()
    similarities = F.normalize(soft, dim=-1) @ F.normalize(TABLE, dim=-1).T
    mixture = (similarities / 0.3).softmax(-1) @ TABLE
    chosen = TABLE[similarities.argmax(-1)]
    (2 * chosen * mixture).sum().backward()
    torch.testing.assert_close(hard.grad, soft.grad)


def test_padding_does_not_count_as_use():
    keywords = torch.cat([KEYWORDS, KEYWORDS.roll(1, dims=1)])
    lengths = torch.tensor([2, 1])
    padded = TokenQuantizer()(keywords, TABLE, lengths=lengths)
    alone = TokenQuantizer()(
        torch.stack([keywords[0, 0], keywords[0, 1], keywords[1, 0]])[None], TABLE
    )
    torch.testing.assert_close(padded.code_perplexity, alone.code_perplexity)
    torch.testing.assert_close(
        token_usage(padded.similarities, lengths), token_usage(alone.similarities)
    )


def test_perplexity_counts_outcomes():
    assert math.isclose(perplexity(torch.tensor([0.5, 0.5, 0.0])), 2.0, rel_tol=1e-5)


def test_diversity_is_zero_when_all_rows_are_in_use_and_nearly_one_when_one_is():
    even = token_usage(10 * torch.eye(4)[None], temperature=0.1)
    assert diversity_loss(perplexity(even), 4).item() == pytest.approx(0.0, abs=1e-4)
    one = token_usage(10 * torch.eye(4)[[0, 0, 0]][None], temperature=0.1)
    assert diversity_loss(perplexity(one), 4).item() == pytest.approx(0.75, abs=1e-4)


def test_scheduled_temperature_moves_geometrically():
    quantizer = TokenQuantizer(temperature=[0.1, 0.001, 100])
    values = [float(quantizer.current_temperature(step)) for step in (None, 0, 50, 100, 999)]
    assert values == pytest.approx([0.1, 0.1, 0.01, 0.001, 0.001])


def test_similarities_stay_precise_under_autocast():
    torch.manual_seed(0)
    keywords, table = torch.randn(2, 3, 64), torch.randn(500, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = TokenQuantizer()(keywords, table)
    assert torch.equal(inside.similarities, TokenQuantizer()(keywords, table).similarities)


def test_a_learned_temperature_stays_positive():
    quantizer = TokenQuantizer(temperature="learned=0.01")
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=1.0)
    quantizer.temperature.grad = torch.tensor(0.5)
    optimizer.step()
    keep_in_bounds(quantizer)
    assert float(quantizer.temperature) == pytest.approx(0.001)
    assert torch.isfinite(quantizer(KEYWORDS, TABLE).embeddings).all()
    quantizer.load_state_dict({"temperature": torch.tensor(-3.0)})
    assert float(quantizer.temperature) == pytest.approx(0.001)


SENSELESS = [0.0, -1.0, "fixed=0.1", "learned=0", "learned=-1", "learned=nan", "learned=x"]


SCHEDULES = [[0.1, 0.0, 10], [0.1, 0.02], [0.1, 0.02, "x"]]


@pytest.mark.parametrize("temperature", [*SENSELESS, *SCHEDULES])
def test_senseless_temperatures_are_refused(temperature):
    with pytest.raises(ValueError, match="temperature"):
        TokenQuantizer(temperature=temperature)
