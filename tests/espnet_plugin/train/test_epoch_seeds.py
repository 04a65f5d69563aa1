from __future__ import annotations

import random

import numpy as np
import pytest

from espnet_plugin.train.epoch_seeds import EpochIterFactory, epoch_seed, seed_worker
from espnet_plugin.train.unique_image_sampler import UniqueImageBatchSampler

UTTERANCES = {f"i{image}_{n}": f"i{image}" for image in range(20) for n in range(2)}


class Draws:
    """Every utterance is what NumPy's and Python's global state give next."""

    def __getitem__(self, utterance: str) -> tuple[str, int, float]:
        return utterance, np.random.randint(2**31), random.random()


def epoch_of(seed: int, epoch: int, **options: object) -> list[list[tuple[str, int, float]]]:
    sampler = UniqueImageBatchSampler(UTTERANCES, batch_size=10, seed=seed)
    factory = EpochIterFactory(
        dataset=Draws(), batches=sampler, seed=seed, collate_fn=list, **options
    )
    return list(factory.build_iter(epoch))


def test_streams_of_runs_epochs_and_workers_are_apart() -> None:
    keys = [(s, e, w) for s in range(4) for e in range(4) for w in range(4)]
    assert len({epoch_seed(*key) for key in keys}) == len(keys)
    assert epoch_seed(1, 2, 3) == epoch_seed(1, 2, 3)
    draws = set()
    for seed, epoch, worker in keys:
        seed_worker(worker, seed=seed, epoch=epoch)
        draws.add((np.random.randint(2**31), random.random()))
    assert len(draws) == len(keys)


@pytest.mark.parametrize("options", [{}, {"num_iters_per_epoch": 3}, {"num_iters_per_epoch": 6}])
def test_an_epoch_has_batches_of_its_own_seed(options: dict[str, int]) -> None:
    batches = {
        (seed, epoch): [
            frozenset(utterance for utterance, _, _ in batch)
            for batch in epoch_of(seed, epoch, **options)
        ]
        for seed in range(2)
        for epoch in (1, 2, 3)
    }
    of_seeds = [{b for (s, _), bs in batches.items() if s == seed for b in bs} for seed in range(2)]
    assert not of_seeds[0] & of_seeds[1]
    assert sum(map(len, of_seeds)) == sum(map(len, batches.values()))
    # an epoch of 6 repeats the corpus, which has 4 batches; one of 3 has a part of it
    assert {len(epoch) for epoch in batches.values()} == {options.get("num_iters_per_epoch", 4)}


def test_data_workers_draw_by_run_and_epoch() -> None:
    first = epoch_of(0, 2, num_workers=1)
    assert epoch_of(0, 2, num_workers=1) == first
    other = epoch_of(1, 1, num_workers=1)
    assert not {n for b in first for _, n, _ in b} & {n for b in other for _, n, _ in b}
