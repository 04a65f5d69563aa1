from __future__ import annotations

import os
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from local.shared.speech_synthesis import VoicedCaption, _align, _resampled, speak_captions

_RECIPE = Path(__file__).resolve().parents[3] / "egs2" / "speechclip_plus"


def test_words_without_event_share_a_span():
    # "in the" has one event, at character 6
    words = _align("a dog in the snow", [(0, 0), (2, 10), (6, 40), (13, 60)], 100, 100)
    assert words == [
        ("a", 0.0, 0.1),
        ("dog", 0.1, 0.4),
        ("in", 0.4, 0.6),
        ("the", 0.4, 0.6),
        ("snow", 0.6, 1.0),
    ]


def test_a_block_repeats_byte_for_byte(tmp_path):
    pytest.importorskip("espeakng_loader")
    # the last voice has breath, for which the engine draws random numbers
    captions = [
        VoicedCaption(f"u{n}", "u", "a red dog next to an orange house", voice, 170, 50, 50)
        for n, voice in enumerate(["en-us+m1", "en+m2", "en-us+m1", "en+whisper"])
    ]
    spoken = []
    for run in ("one", "two"):
        spoken.append(speak_captions(captions, tmp_path / run, jobs=1, block_size=10))
        time.sleep(1.0 if run == "one" else 0.0)  # the engine's own seed is the clock's second
    assert spoken[0] == spoken[1]
    for n in range(4):
        first, again = (tmp_path / run / "wavs" / f"u{n}.wav" for run in ("one", "two"))
        assert first.read_bytes() == again.read_bytes()
    words = spoken[0]["u0"]
    assert [word for word, _, _ in words] == captions[0].text.split()
    assert all(a[1] <= b[1] and a[1] < a[2] for a, b in zip(words, words[1:], strict=False))
    with wave.open(str(tmp_path / "one/wavs/u0.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16000, 2, 1)
        assert words[-1][2] <= file.getnframes() / 16000


def test_a_block_of_another_caption_is_spoken_again(tmp_path):
    pytest.importorskip("espeakng_loader")
    red, blue = (
        VoicedCaption("u", "i", f"a {colour} dog", "en-us+m1", 170, 50, 50)
        for colour in ("red", "blue")
    )
    speak_captions([red, replace(red, utterance_id="v")], tmp_path, jobs=1, block_size=1)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "wavs").iterdir()}
    words = speak_captions([blue, replace(red, utterance_id="v")], tmp_path, jobs=1, block_size=1)
    assert [word for word, _, _ in words["u"]] == ["a", "blue", "dog"]
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "wavs").iterdir()}
    assert after["u.wav"] != before["u.wav"] and after["v.wav"] == before["v.wav"]


def test_long_speech_is_resampled_alike_each_time():
    samples = (3000 * np.random.default_rng(0).standard_normal(66200)).astype(np.int16)
    first = _resampled(samples, 22050)
    assert first.dtype == np.int16 and len(first) > 3 * 16000
    assert all(np.array_equal(_resampled(samples, 22050), first) for _ in range(20))


def test_unknown_voice_is_refused():
    pytest.importorskip("espeakng_loader")
    code = (
        "from local.shared.speech_synthesis import VoicedCaption, Synthesiser\n"
        "caption = VoicedCaption('u', 'i', 'a dog', 'en-us+nosuch', 170, 50, 50)\n"
        "try: Synthesiser().speak(caption)\n"
        "except ValueError as error: assert 'nosuch' in str(error)\n"
        "else: raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=_RECIPE, env=_environment())


def _environment() -> dict[str, str]:
    root = str(_RECIPE.parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(_RECIPE)])}
