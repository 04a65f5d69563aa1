from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.train.language_sampler import LanguageBatchSampler


def corpus(captions: dict[str, list[int]]) -> tuple[dict[str, str], dict[str, str]]:
    """Images and languages of utterances; ``captions`` has how many each image has."""
    images, languages = {}, {}
    for language, counts in captions.items():
        for image, count in enumerate(counts):
            for n in range(count):
                images[f"i{image}_{language}_{n}"] = f"i{image}"
                languages[f"i{image}_{language}_{n}"] = language
    return images, languages


def test_separate_batches_are_of_one_language_each() -> None:
    images, languages = corpus({"en": [2] * 6, "sw": [1] * 6})
    sampler = LanguageBatchSampler(images, languages, parallel=False, batch_size=4, seed=3)
    batches = sampler.generate(1)
    assert len(batches) == len(sampler) == 5  # 12 / 4 and 6 / 4
    assert Counter(languages[batch[0]] for batch in batches) == {"en": 3, "sw": 2}
    for batch in batches:
        assert len({languages[u] for u in batch}) == 1
        assert len({images[u] for u in batch}) == len(batch)
    assert sorted(u for batch in batches for u in batch) == sorted(images)
    assert batches == sampler.generate(1) != sampler.generate(2)
    orders = {tuple(languages[batch[0]] for batch in sampler.generate(e)) for e in range(9)}
    assert len(orders) > 1


def test_parallel_batches_have_each_image_in_every_language() -> None:
    images, languages = corpus({"en": [2] * 6, "es": [2] * 6, "sw": [2] * 6})
    sampler = LanguageBatchSampler(images, languages, parallel=True, batch_size=10, seed=3)
    batches = sampler.generate(0)
    assert len(batches) == len(sampler) == 4  # 12 groups, three in a batch of 9
    for batch in batches:
        assert len(batch) == 9
        said = {(images[u], languages[u]) for u in batch}
        assert len(said) == 9 and len({image for image, _ in said}) == 3
    assert sorted(u for batch in batches for u in batch) == sorted(images)
    together = [
        {u for u in batch if images[u] == "i0"}
        for epoch in range(20)
        for batch in sampler.generate(epoch)
    ]
    assert len(set(map(frozenset, together)) - {frozenset()}) > 4  # of eight that there can be


def test_a_caption_without_translation_comes_alone() -> None:
    images, languages = corpus({"en": [2, 1], "sw": [1, 0]})
    sampler = LanguageBatchSampler(images, languages, parallel=True, batch_size=4)
    groups = [{u for u in batch if images[u] == "i0"} for batch in sampler.generate(0)]
    assert sorted(map(len, groups)) == [1, 2]
    assert sorted(u for batch in sampler.generate(0) for u in batch) == sorted(images)


@pytest.mark.parametrize("parallel", [False, True])
def test_windows_are_sorted_by_length(parallel: bool) -> None:
    """Captions of an image are all long or all short, and images have one to three of them."""
    images, languages = corpus({"en": [1, 2, 3] * 20, "sw": [1, 2, 3] * 20})
    lengths = {u: 10 + 90 * (int(image[1:]) % 2) for u, image in images.items()}

    def padding(window: int) -> int:
        options = {"parallel": parallel, "batch_size": 8, "lengths": lengths, "sort_window": window}
        batches = LanguageBatchSampler(images, languages, **options).generate(0)
        return sum(max(lengths[u] for u in batch) - lengths[u] for batch in batches for u in batch)

    assert padding(6) < padding(1) / 3


@settings(deadline=None, max_examples=40)
@given(
    counts=st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=4, max_size=10),
    window=st.integers(1, 3),
    epoch=st.integers(0, 2),
    parallel=st.booleans(),
)
def test_ranks_share_everything(
    counts: list[tuple[int, int]], window: int, epoch: int, parallel: bool
) -> None:
    images, languages = corpus({k: [2 + c[n] for c in counts] for n, k in enumerate(("en", "sw"))})
    shares = [
        LanguageBatchSampler(
            images, languages, parallel=parallel, batch_size=8, lengths={u: len(u) for u in images},
            sort_window=window, world_size=2, rank=rank,
        ).generate(epoch)
        for rank in range(2)
    ]  # fmt: skip
    assert len(shares[0]) == len(shares[1])
    assert {u for share in shares for batch in share for u in batch} == set(images)
    for parts in zip(*shares, strict=True):
        assert all(parts) and sum(map(len, parts)) <= 8
        batch = [u for part in parts for u in part]
        assert len({(images[u], languages[u]) for u in batch}) == len(batch)
        if not parallel:
            assert len({languages[u] for u in batch}) == 1


def test_a_batch_without_room_for_an_image_is_refused() -> None:
    images, languages = corpus({"en": [1, 1], "es": [1, 1], "sw": [1, 1]})
    with pytest.raises(ValueError, match="batch_size 5 is too small; give 6 or more"):
        LanguageBatchSampler(images, languages, parallel=True, batch_size=5, world_size=2)
    with pytest.raises(ValueError, match="batch_size 2 is too small; give 3 or more"):
        LanguageBatchSampler(images, languages, parallel=True, batch_size=2)
