"""Random streams by name: what one part draws changes nothing that another part draws."""

from __future__ import annotations

import numpy as np


def random_stream(seed: int, name: str) -> np.random.Generator:
    """The stream of a seed and a name; two names share nothing."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=tuple(name.encode())))
