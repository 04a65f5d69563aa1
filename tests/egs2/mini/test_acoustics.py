from __future__ import annotations

import numpy as np
import pytest
from local.mini.acoustics import Room, coloured_noise, draw_room, impulse_response, record
from local.mini.world import read_world

HARD = read_world("hard")

RATE = 16000


@pytest.fixture
def speech():
    """A second of a loud tone after half a second of silence."""
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    return np.concatenate([np.zeros(RATE // 2), tone]).astype(np.int16)


def test_the_noise_is_as_loud_as_asked(speech):
    dry = Room(0.2, 60.0, 10.0, 0.0, seed=1)  # hardly any answer of the room
    heard = record(speech, dry, RATE).astype(float)
    assert heard.shape == speech.shape
    noise = heard - speech
    ratio = 10 * np.log10(np.mean(speech.astype(float) ** 2) / np.mean(noise**2))
    assert ratio == pytest.approx(10.0, abs=0.2)
    assert (record(speech, dry, RATE) == heard).all()  # the same room, the same noise


def test_the_room_answers_later_and_fades():
    room = Room(0.4, 6.0, 30.0, 0.0, seed=2)
    answer = impulse_response(np.random.default_rng(2), room, RATE)
    assert answer[0] == 1.0 and not answer[1:40].any()
    energy = np.sum(answer[1:] ** 2)
    assert 10 * np.log10(1 / energy) == pytest.approx(6.0)
    early, late = (np.sum(answer[s : s + 800] ** 2) for s in (800, 800 + int(0.2 * RATE)))
    assert 10 * np.log10(early / late) == pytest.approx(30.0, abs=3.0)  # 60 dB in 0.4 s


def test_slope_of_the_noise():
    rng = np.random.default_rng(0)
    power = np.abs(np.fft.rfft(coloured_noise(rng, 1 << 16, 1.0, RATE))) ** 2
    low, high = power[1024:2048].mean(), power[8192:16384].mean()  # three octaves apart
    assert low / high == pytest.approx(8.0, rel=0.2)


def test_what_would_clip_is_made_softer(speech):
    loud = (speech.astype(int) * 4).clip(-32768, 32767).astype(np.int16)
    heard = record(loud, Room(0.3, 0.0, 5.0, 2.0, seed=3), RATE)
    assert np.abs(heard.astype(int)).max() <= 32001


def test_rooms_differ():
    rng = np.random.default_rng(0)
    rooms = [draw_room(rng, HARD.acoustics) for _ in range(200)]
    low, high = HARD.acoustics.signal_to_noise
    assert min(r.signal_to_noise for r in rooms) < low + 2
    assert max(r.signal_to_noise for r in rooms) > high - 2
    assert len({r.seed for r in rooms}) == 200
