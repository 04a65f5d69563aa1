"""Keyword batch norm: statistics of valid slots, channel layout, start values."""

from __future__ import annotations

import torch

from espnet_plugin.speechclip.keyword_norm import KeywordBatchNorm


def test_padded_slots_do_not_count_and_do_not_change():
    keywords = torch.tensor([[[1.0], [3.0]], [[5.0], [99.0]]])
    norm = KeywordBatchNorm(1, eps=1e-12)
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
    norm = KeywordBatchNorm(3, num_slots=2)
    norm.initialise(table)
    ours = norm(torch.randn(80, 2, 3) * torch.tensor([[1.0], [10.0]])[None])
    for slot in range(2):
        torch.testing.assert_close(ours[:, slot].mean(0), table.mean(0), rtol=1e-4, atol=1e-4)


def test_a_single_keyword_uses_the_running_statistics():
    norm = KeywordBatchNorm(2)
    ours = norm(torch.ones(1, 1, 2), torch.tensor([1]))
    torch.testing.assert_close(ours, torch.ones(1, 1, 2), rtol=1e-4, atol=1e-4)
