from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.search import microphone
from espnet_plugin.search.query import combine


def test_sum_of_what_is_wanted_less_what_is_not() -> None:
    right, up = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert np.allclose(combine([right]), right)
    assert np.allclose(combine([right, up]), [0.5**0.5, 0.5**0.5])
    assert np.allclose(combine([right, right, up]), np.array([2, 1]) / 5**0.5)
    assert np.allclose(combine([right], [up]), [0.5**0.5, -(0.5**0.5)])


def test_queries_without_direction() -> None:
    right = np.array([1.0, 0.0])
    with pytest.raises(ValueError, match="cancel out"):
        combine([right], [right])
    with pytest.raises(ValueError, match="nothing to search for"):
        combine([], [right])


def test_no_microphone_is_one_sentence() -> None:
    """Here there is no microphone, or not even the library that would listen to it."""
    try:
        import sounddevice

        if len(sounddevice.query_devices()):
            pytest.skip("there is a sound card")
    except (ImportError, OSError):
        pass
    with pytest.raises((ImportError, ValueError), match="--mic needs|no microphone can be used"):
        microphone.record(0.1)
