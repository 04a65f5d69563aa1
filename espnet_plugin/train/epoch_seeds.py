"""Random streams of a run's epochs that no other run's epoch shares.

ESPnet seeds an epoch with ``seed + epoch``: epoch 2 of seed 0 is epoch 1 of seed 1. Trainings that
differ only in the seed would see the same batches one epoch apart. NumPy's ``SeedSequence`` mixes
both numbers instead. An epoch's stream depends only on them, so a resumed training repeats.
"""

from __future__ import annotations

import random
from functools import partial

import numpy as np
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from torch.utils.data import DataLoader


def epoch_seed(seed: int, epoch: int, *stream: int) -> int:
    """A seed of 32 bits for one stream of an epoch.

    Args:
        seed: Seed of the run.
        epoch: Number of the epoch.
        *stream: Numbers that tell streams of an epoch apart, e.g. that of a data worker.
    """
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=stream)
    return int(sequence.generate_state(1)[0])


def seed_worker(worker: int, *, seed: int, epoch: int) -> None:
    """Seeds Python's and NumPy's global state in a data worker."""
    value = epoch_seed(seed, epoch, worker)
    random.seed(value)
    np.random.seed(value)


class EpochIterFactory(SequenceIterFactory):
    """ESPnet's factory, with batches and data workers seeded by run and epoch.

    Args:
        seed: Seed of the run.
        **options: Options of ESPnet's ``SequenceIterFactory``. ``batches`` is a sampler with the
            run's seed, whose ``generate`` is given the number of the epoch.
    """

    def __init__(self, *, seed: int, **options: object) -> None:
        super().__init__(**options, seed=0)
        self.run_seed = seed

    def build_iter(self, epoch: int, shuffle: bool | None = None) -> DataLoader:
        """The batches of an epoch."""
        loader = super().build_iter(epoch, shuffle)
        loader.worker_init_fn = partial(seed_worker, seed=self.run_seed, epoch=epoch)
        return loader
