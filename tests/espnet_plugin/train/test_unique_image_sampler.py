from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from espnet_plugin.train.unique_image_sampler import (
    UniqueImageBatchSampler,
    can_be_spread,
    spread_sizes,
)


def utterances(captions: list[int]) -> dict[str, str]:
    return {f"i{image}_{n}": f"i{image}" for image, c in enumerate(captions) for n in range(c)}


def test_sizes_are_multiples_and_as_equal_as_can_be() -> None:
    assert spread_sizes(10, 4, 1) == [3, 3, 2, 2]
    assert spread_sizes(12, 2, 4) == [8, 4]


@settings(deadline=None, max_examples=60)
@given(
    captions=st.lists(st.integers(1, 6), min_size=3, max_size=20),
    batch_size=st.integers(3, 12),
    world_size=st.integers(1, 3),
    window=st.integers(1, 4),
    epoch=st.integers(0, 3),
)
def test_no_image_twice_nothing_dropped_equal_shares(
    captions: list[int], batch_size: int, world_size: int, window: int, epoch: int
) -> None:
    utt2image = utterances(captions)
    # with several ranks a frequent image needs enough others beside it in each of its batches
    assume(world_size == 1 or max(captions) * world_size <= sum(captions))
    samplers = [
        UniqueImageBatchSampler(
            utt2image,
            batch_size=batch_size,
            lengths={u: len(u) for u in utt2image},
            sort_window=window,
            world_size=world_size,
            rank=rank,
        )
        for rank in range(world_size)
    ]
    shares = [sampler.generate(epoch) for sampler in samplers]
    assert {len(share) for share in shares} == {len(samplers[0])}
    seen: Counter[str] = Counter()
    for parts in zip(*shares, strict=True):
        assert len({len(part) for part in parts}) == 1  # ranks can gather
        batch = [utterance for part in parts for utterance in part]
        assert 0 < len(batch) <= batch_size
        images = [utt2image[utterance] for utterance in batch]
        assert len(set(images)) == len(images)
        seen.update(batch)
    assert set(seen) == set(utt2image)
    assert sum(seen.values()) - len(utt2image) < world_size  # repeats that fill up the ranks


def test_no_two_epochs_of_any_seeds_share_a_batch_and_each_repeats() -> None:
    utt2image = utterances([5] * 20)
    seen: Counter[frozenset[str]] = Counter()
    for seed in range(4):
        sampler = UniqueImageBatchSampler(utt2image, batch_size=10, seed=seed)
        again = UniqueImageBatchSampler(utt2image, batch_size=10, seed=seed)
        for epoch in range(1, 5):
            batches = sampler.generate(epoch)
            assert again.generate(epoch) == batches
            seen.update(map(frozenset, batches))
    assert len(seen) == 4 * 4 * len(sampler)


def test_images_meet_others_within_an_epoch() -> None:
    """Captions of one image must not all meet the same companions."""
    utt2image = utterances([5] * 40)
    sampler = UniqueImageBatchSampler(utt2image, batch_size=10)
    companions = [
        {utt2image[u] for u in batch}
        for batch in sampler.generate(0)
        if any(utt2image[u] == "i0" for u in batch)
    ]
    assert len(set.union(*companions)) > 25


def test_batch_larger_than_the_number_of_images_is_made_smaller(caplog) -> None:
    sampler = UniqueImageBatchSampler(utterances([3, 3, 3]), batch_size=9)
    assert sampler.sizes == [3, 3, 3]
    assert "captions of one image" in caplog.text


def test_one_image_with_many_captions_makes_as_many_batches() -> None:
    sampler = UniqueImageBatchSampler(utterances([6, 1, 1]), batch_size=4)
    batches = sampler.generate(0)
    assert len(batches) == 6
    assert sorted(u for batch in batches for u in batch) == sorted(utterances([6, 1, 1]))


def test_what_fills_up_the_ranks_comes_from_the_rarest_images() -> None:
    """A fourth caption of the third image would need a fourth batch."""
    sampler = UniqueImageBatchSampler(utterances([1, 1, 3]), batch_size=2, world_size=2)
    assert sampler.sizes == [2, 2, 2]


def test_window_sorts_by_length() -> None:
    utt2image = utterances([1] * 40)
    lengths = {u: i for i, u in enumerate(sorted(utt2image))}
    sampler = UniqueImageBatchSampler(utt2image, batch_size=10, lengths=lengths, sort_window=4)
    spreads = [
        max(lengths[u] for u in batch) - min(lengths[u] for u in batch)
        for batch in sampler.generate(0)
    ]
    assert spreads == [9] * 4


def test_too_wide_a_window_is_narrowed(caplog) -> None:
    utt2image = utterances([5] * 10)
    sampler = UniqueImageBatchSampler(
        utt2image, batch_size=5, lengths=dict.fromkeys(utt2image, 1), sort_window=8
    )
    assert max(map(len, sampler.windows)) == 2  # ten images = two batches of five
    assert "Sorting by length" in caplog.text
    caplog.clear()  # no window is wider than all batches
    utt2image = utterances([1] * 10)
    lengths = dict.fromkeys(utt2image, 1)
    UniqueImageBatchSampler(utt2image, batch_size=5, lengths=lengths, sort_window=8)
    assert not caplog.text


def test_impossible_requests_say_so() -> None:
    with pytest.raises(ValueError, match="no utterance"):
        UniqueImageBatchSampler({}, batch_size=2)
    with pytest.raises(ValueError, match="processes"):
        UniqueImageBatchSampler(utterances([4]), batch_size=2, world_size=2)
    with pytest.raises(ValueError, match="batch_size 1"):
        UniqueImageBatchSampler(utterances([1, 1]), batch_size=1, world_size=2)
    with pytest.raises(ValueError, match="length"):
        UniqueImageBatchSampler(utterances([1, 1]), batch_size=2, sort_window=2)


def test_spreading_condition() -> None:
    assert can_be_spread([2, 2], [2, 2])
    assert not can_be_spread([2, 2], [4])
    assert not can_be_spread([2, 2], [3, 1])
