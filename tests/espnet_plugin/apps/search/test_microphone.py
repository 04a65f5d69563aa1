from __future__ import annotations

import pytest

from espnet_plugin.apps.search import microphone


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
