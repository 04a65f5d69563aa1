"""Keyword batch norm: statistics of valid slots, channel layout, start values."""

from __future__ import annotations

import copy

import torch
from torch import nn

from espnet_plugin.model import keyword_norm
from espnet_plugin.model.gather import gather_features
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from tests.processes import run_ranks


def test_padded_slots_do_not_count_and_do_not_change():
    keywords = torch.tensor([[[1.0], [3.0]], [[5.0], [99.0]]])
    norm = KeywordBatchNorm(1)
    norm.norm.eps = 1e-12
    ours = norm(keywords, torch.tensor([2, 1]))
    deviation = (8 / 3) ** 0.5  # of 1, 3, 5
    expected = torch.tensor([[[-2 / deviation], [0.0]], [[2 / deviation], [99.0]]])
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(norm.norm.running_mean, torch.tensor([0.3]))


def test_starts_at_the_tables_statistics():
    torch.manual_seed(0)
    table = torch.randn(400, 3) * torch.tensor([1.0, 2.0, 3.0]) + torch.tensor([5.0, 0.0, -5.0])
    norm = KeywordBatchNorm(3)
    norm.initialise(table)
    ours = norm(torch.randn(50, 4, 3) * 7)
    torch.testing.assert_close(ours.flatten(0, 1).mean(0), table.mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        ours.flatten(0, 1).std(0, unbiased=False), table.std(0), rtol=1e-3, atol=1e-3
    )


def test_each_slot_has_its_own_statistics_and_the_tables_start():
    torch.manual_seed(0)
    table = torch.randn(100, 3) + torch.tensor([1.0, 2.0, 3.0])
    norm = KeywordBatchNorm(3, 2)
    norm.initialise(table)
    ours = norm(torch.randn(80, 2, 3) * torch.tensor([[1.0], [10.0]])[None])
    for slot in range(2):
        torch.testing.assert_close(ours[:, slot].mean(0), table.mean(0), rtol=1e-4, atol=1e-4)


def test_a_single_keyword_uses_the_running_statistics():
    norm = KeywordBatchNorm(2)
    ours = norm(torch.ones(1, 1, 2), torch.tensor([1]))
    torch.testing.assert_close(ours, torch.ones(1, 1, 2), rtol=1e-4, atol=1e-4)


def test_equals_pytorchs_norm_to_the_last_bit_and_leaves_out_batches_that_are_not_finite():
    torch.manual_seed(0)
    ours, theirs = KeywordBatchNorm(3), nn.BatchNorm1d(3)
    good, bad = torch.randn(2, 8, 1, 3)
    bad[3, 0, 1] = torch.inf
    for batch in (good, bad, 2 * good):
        leaf, reference = batch.clone().requires_grad_(), batch.clone().requires_grad_()
        normed = ours(leaf)
        if not batch.isfinite().all():
            assert not normed.isfinite().all()  # mixed precision must see the overflow
            continue
        expected = theirs(reference[:, 0])
        assert torch.equal(normed[:, 0], expected)
        normed.pow(3).sum().backward()
        expected.pow(3).sum().backward()
        assert torch.equal(leaf.grad, reference.grad)
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.norm.state_dict()[name], value), name


def test_gradients_of_two_passes_are_those_of_each():
    """A pass must not change in place what an earlier one keeps for its gradient."""
    torch.manual_seed(0)
    norm, keywords = KeywordBatchNorm(3), torch.randn(2, 8, 1, 3)
    (norm(keywords[0]).pow(3).sum() + norm(keywords[1]).pow(3).sum()).backward()
    together = norm.norm.weight.grad.clone()
    norm.zero_grad()
    for batch in keywords:
        norm(batch).pow(3).sum().backward()
    torch.testing.assert_close(norm.norm.weight.grad, together)


def train_step(norm, keywords, lengths, share=slice(None)):
    """One step on a share of a batch; the loss joins what all ranks make of theirs."""
    leaf = keywords[share].clone().requires_grad_()
    own = None if lengths is None else lengths[share]
    normed = norm(leaf, own)
    valid = torch.ones(normed.shape[:2], dtype=torch.bool)
    if own is not None:
        valid = torch.arange(normed.size(1)) < own[:, None]
    sums = torch.where(valid[:, :, None], normed, 0.0).sin().sum(dim=1)  # (batch, dim)
    rows = gather_features(sums)
    (rows @ rows.T).pow(2).sum().backward()
    return normed.detach(), leaf.grad


def train_rank(rank, shares, cases):
    """A step of each case by one of two processes; gradients are averaged as
    DistributedDataParallel does."""
    results = []
    for shared, keywords, lengths in cases:
        norm = copy.deepcopy(shared)
        normed, gradient = train_step(norm, keywords, lengths, shares[rank])
        for parameter in norm.parameters():
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= len(shares)
        gradients = {name: p.grad for name, p in norm.named_parameters()}
        results.append((normed, gradient / len(shares), gradients, norm.state_dict()))
    return results


def test_two_processes_equal_one(tmp_path):
    torch.manual_seed(0)
    shares = (slice(0, 3), slice(3, 5))
    cases = []
    for num_slots, lengths in ((None, [4, 2, 3, 1, 1]), (None, [4, 3, 2, 0, 0]), (4, None)):
        norm = KeywordBatchNorm(3, num_slots)
        norm.initialise(torch.randn(50, 3))
        keywords = 3 * torch.randn(5, 4, 3) + 7
        cases.append((norm, keywords, lengths and torch.tensor(lengths)))
    results = run_ranks(train_rank, tmp_path, shares, cases)
    for number, (one, keywords, lengths) in enumerate(cases):
        normed, gradient = train_step(one, keywords, lengths)
        for rank, share in enumerate(shares):
            ours, own_gradient, gradients, state = results[rank][number]
            torch.testing.assert_close(ours, normed[share])
            torch.testing.assert_close(own_gradient, gradient[share], rtol=1e-4, atol=1e-4)
            for name, parameter in one.named_parameters():
                torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-4)
            for name, value in one.state_dict().items():
                torch.testing.assert_close(state[name], value)


def test_one_keyword_over_all_ranks_uses_the_running_statistics(monkeypatch):
    monkeypatch.setattr(keyword_norm, "is_distributed", lambda: True)
    monkeypatch.setattr(keyword_norm, "sum_over_ranks", lambda value: value)  # the others have none
    norm = KeywordBatchNorm(2)
    for lengths in ([1], [0]):
        ours = norm(torch.ones(1, 1, 2), torch.tensor(lengths))
        torch.testing.assert_close(ours, torch.ones(1, 1, 2), rtol=1e-4, atol=1e-4)
    assert norm.norm.running_mean.tolist() == [0, 0] and norm.norm.running_var.tolist() == [1, 1]
    assert norm.norm.num_batches_tracked == 0
