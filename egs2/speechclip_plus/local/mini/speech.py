"""Speech with word times from eSpeak NG's shared library, through ctypes."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from espnet_plugin.evaluation.alignments import Word
from espnet_plugin.utils.atomic import atomic_path, write_text

SAMPLING_RATE = 16000
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_EVENT_LIST_TERMINATED, _EVENT_WORD = 0, 1
_CHARS_UTF8 = 1
_TAIL_SECONDS = 0.06  # silence kept after the last word


@dataclass(frozen=True)
class VoicedCaption:
    """One caption, who says it, and how (in eSpeak NG's units).

    A corpus of several languages has the language's code, and the caption in English.
    """

    utterance_id: str
    image_id: str
    text: str
    voice: str
    words_per_minute: int
    pitch: int
    pitch_range: int
    language: str = ""
    english: str = ""


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Synthesiser:
    """One engine per process: the library keeps state, so a fresh process per block repeats."""

    def __init__(self) -> None:
        import espeakng_loader as loader

        self._library = ctypes.CDLL(loader.get_library_path())
        path = os.fsencode(loader.get_data_path())
        self._engine_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, path, 0)
        if self._engine_rate <= 0:
            raise RuntimeError(f"eSpeak NG cannot start with the data in {loader.get_data_path()}")
        self._chunks: list[bytes] = []
        self._events: list[tuple[int, int]] = []
        self._callback = _CALLBACK(self._receive)  # kept alive as long as the engine
        self._library.espeak_SetSynthCallback(self._callback)
        self._variants = {p.name for p in (Path(loader.get_data_path()) / "voices/!v").iterdir()}

    def speak(self, caption: VoicedCaption) -> tuple[np.ndarray, list[Word]]:
        """Return int16 samples at 16 kHz and the words; those without own event share a span."""
        self._set_voice(caption.voice)
        for parameter, value in (
            (_RATE, caption.words_per_minute),
            (_PITCH, caption.pitch),
            (_RANGE, caption.pitch_range),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        self._events.clear()
        text = caption.text.encode()
        self._library.espeak_Synth(text, len(text) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        samples = np.frombuffer(b"".join(self._chunks), dtype=np.int16)
        if not samples.size or not self._events:
            raise RuntimeError(f"eSpeak NG said nothing for: {caption.text!r}")
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 200)
        speech_end = int(loud[-1]) + 1 if loud.size else samples.size
        samples = samples[: speech_end + int(_TAIL_SECONDS * self._engine_rate)]
        words = _align(caption.text, self._events, speech_end, self._engine_rate)
        return _resampled(samples, self._engine_rate), words

    def _set_voice(self, voice: str) -> None:
        variant = voice.partition("+")[2]
        # The engine reports success for a variant that does not exist.
        if variant and variant not in self._variants:
            raise ValueError(f"eSpeak NG has no voice variant {variant!r}")
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {voice!r}")

    def _receive(self, wave, count: int, events) -> int:
        if wave and count > 0:
            self._chunks.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            if events[index].type == _EVENT_WORD:
                self._events.append((events[index].text_position - 1, events[index].sample))
            index += 1
        return 0


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    # Of 16 bits soxr dithers what is longer than three seconds with another seed each time.
    resampled = soxr.resample(samples.astype(np.float32), rate, SAMPLING_RATE, quality="MQ")
    return np.clip(np.rint(resampled), -(2**15), 2**15 - 1).astype(np.int16)


def speak_block(captions: Sequence[VoicedCaption], result: Path, wavs: Path) -> None:
    """Write a WAV file per caption, then the words of all of them to ``result``."""
    engine = Synthesiser()
    words = {}
    for caption in captions:
        samples, spoken = engine.speak(caption)
        with atomic_path(wavs / f"{caption.utterance_id}.wav") as temporary:
            soundfile.write(temporary, samples, SAMPLING_RATE, subtype="PCM_16")
        words[caption.utterance_id] = [(w.text, w.start, w.end) for w in spoken]
    write_text(result, json.dumps(words))


def _align(text: str, events: list[tuple[int, int]], end: int, rate: int) -> list[Word]:
    """Turn word events (character, sample) into spans; words without event join the one before."""
    starts = dict(sorted(events, reverse=True))  # the first event of a position wins
    groups: list[tuple[int, list[str]]] = []
    position = 0
    for word in text.split():
        if position in starts or not groups:
            groups.append((starts.get(position, 0), [word]))
        else:
            groups[-1][1].append(word)
        position += len(word) + 1
    words = []
    for index, (start, members) in enumerate(groups):
        stop = groups[index + 1][0] if index + 1 < len(groups) else end
        words += [Word(w, round(start / rate, 4), round(stop / rate, 4)) for w in members]
    return words
