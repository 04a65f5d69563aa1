from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from local.mini.corpus import _speak
from local.mini.speech import VoicedCaption, _align, _resampled

_RECIPE = Path(__file__).resolve().parents[3] / "egs2" / "speechclip_plus"


def test_words_without_event_share_a_span():
    # "in the" has one event, at character 6
    words = _align("a dog in the snow", [(0, 0), (2, 10), (6, 40), (13, 60)], 100, 100)
    assert [(w.text, w.start, w.end) for w in words] == [
        ("a", 0.0, 0.1),
        ("dog", 0.1, 0.4),
        ("in", 0.4, 0.6),
        ("the", 0.4, 0.6),
        ("snow", 0.6, 1.0),
    ]


def test_a_block_repeats_byte_for_byte(tmp_path):
    pytest.importorskip("espeakng_loader")
    captions = [
        VoicedCaption(f"u{n}", "u", "a red dog next to an orange house", voice, 170, 50, 50)
        for n, voice in enumerate(["en-us+m1", "en+m2", "en-us+m1"])
    ]
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        _speak(captions, tmp_path / f"{run}.json", tmp_path / run)
    for n in range(3):
        first, again = (tmp_path / run / f"u{n}.wav" for run in ("one", "two"))
        assert first.read_bytes() == again.read_bytes()
    words = json.loads((tmp_path / "one.json").read_text())["u0"]
    assert [word for word, _, _ in words] == captions[0].text.split()
    assert all(a[1] <= b[1] and a[1] < a[2] for a, b in zip(words, words[1:], strict=False))
    with wave.open(str(tmp_path / "one/u0.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (16000, 2, 1)
        assert words[-1][2] <= file.getnframes() / 16000


def test_long_speech_is_resampled_alike_each_time():
    samples = (3000 * np.random.default_rng(0).standard_normal(66200)).astype(np.int16)
    first = _resampled(samples, 22050)
    assert first.dtype == np.int16 and len(first) > 3 * 16000
    assert all(np.array_equal(_resampled(samples, 22050), first) for _ in range(20))


def test_unknown_voice_is_refused():
    pytest.importorskip("espeakng_loader")
    code = (
        "from local.mini.speech import VoicedCaption, Synthesiser\n"
        "caption = VoicedCaption('u', 'i', 'a dog', 'en-us+nosuch', 170, 50, 50)\n"
        "try: Synthesiser().speak(caption)\n"
        "except ValueError as error: assert 'nosuch' in str(error)\n"
        "else: raise SystemExit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=_RECIPE, env=_environment())


def _environment() -> dict[str, str]:
    root = str(_RECIPE.parents[1])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, str(_RECIPE)])}
