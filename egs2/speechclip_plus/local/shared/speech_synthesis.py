"""Speech with word times from eSpeak NG's shared library, through ctypes."""

from __future__ import annotations

import ctypes
import json
import logging
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import soundfile
import soxr

from espnet_plugin.data.record import Record, is_made_from, make_record, write_record
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.disk import require_space
from espnet_plugin.utils.files import MissingPackageError
from espnet_plugin.utils.hashing import content_hash
from espnet_plugin.utils.progress import progress
from espnet_plugin.utils.small_files import read_json

SAMPLING_RATE = 16000
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT
_RATE, _PITCH, _RANGE = 1, 3, 4  # espeak_PARAMETER
_EVENT_LIST_TERMINATED, _EVENT_WORD = 0, 1
_CHARS_UTF8 = 1
_TAIL_SECONDS = 0.06  # silence kept after the last word
_BYTES_PER_LETTER = 2200  # 0.07 s at 16 kHz, 16 bits, as of mini's and Flickr8k's captions
_VERSION = 1  # raise it when the code makes other recordings


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


def variants() -> list[str]:
    """Names of the engine's voice variants, such as ``f2``, which any language can have.

    Raises:
        MissingPackageError: If the engine is not installed.
    """
    return sorted(path.name for path in (_data_folder() / "voices/!v").iterdir())


def languages() -> dict[str, str]:
    """English name of each language and variety that the engine speaks, by its code.

    Raises:
        MissingPackageError: If the engine is not installed.
    """
    folder = _data_folder()
    found = {}
    for path in (folder / "lang").rglob("*"):
        # without a dictionary it spells
        if path.is_file() and (folder / f"{path.name.partition('-')[0]}_dict").is_file():
            named = re.search(r"^name (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            found[path.name.lower()] = named[1].strip() if named else path.name
    return dict(sorted(found.items()))


def _data_folder() -> Path:
    return Path(_loader().get_data_path())


def _loader() -> ModuleType:
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingPackageError(
            f"synthetic voices need eSpeak NG ({error}): pip install espeakng-loader (extra: speak)"
        ) from error
    return espeakng_loader


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Synthesiser:
    """One engine per process: the library keeps state, so a fresh process per block repeats."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(_loader().get_library_path())
        path = str(_data_folder())
        self._engine_rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(path), 0)
        if self._engine_rate <= 0:
            raise RuntimeError(f"eSpeak NG cannot start with the data in {path}")
        # breath and croaking are drawn, by the clock's seed unless there is another
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._chunks: list[bytes] = []
        self._events: list[tuple[int, int]] = []
        self._callback = _CALLBACK(self._receive)  # kept alive as long as the engine
        self._library.espeak_SetSynthCallback(self._callback)
        self._variants = set(variants())

    def speak(self, caption: VoicedCaption) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
        """Return int16 samples at 16 kHz, and the words with their starts and ends in seconds.

        Words without an event of their own share a span. Both are empty if the engine says nothing.
        """
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
            return np.zeros(0, dtype=np.int16), []
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


def speak_captions(
    captions: Sequence[VoicedCaption], root: Path, *, jobs: int, block_size: int
) -> dict[str, list[tuple[str, float, float]]]:
    """Synthesise captions in blocks; blocks that were made from the same are kept.

    Args:
        captions: What is said, and how.
        root: Folder of the corpus; ``wavs/<utterance_id>.wav`` and ``blocks/`` are written.
        jobs: Number of processes at a time.
        block_size: Number of captions that one process speaks. Another one gives other recordings,
            because the engine keeps state between sentences.

    Returns:
        The words of each utterance id, with their start and end in seconds. Captions about which
        the engine says nothing have neither words nor a file.

    Raises:
        RuntimeError: If a block's process fails.
        NotEnoughSpaceError: If the disk is too full.
    """
    results, pending = [], []
    for number, begin in enumerate(range(0, len(captions), block_size)):
        block, result = captions[begin : begin + block_size], root / f"blocks/{number:04d}.json"
        results.append(result)
        facts = {
            "captions": content_hash([astuple(caption) for caption in block]),
            "engine": version("espeakng-loader"),
        }
        record = make_record("synthetic speech", facts, version=_VERSION)
        if not (result.exists() and is_made_from(result, record)):
            pending.append((block, result, record))
    if len(pending) < len(results):
        logging.info(f"blocks that exist already: {len(results) - len(pending)} of {len(results)}")
    letters = sum(len(caption.text) for block, *_ in pending for caption in block)
    require_space(root, letters * _BYTES_PER_LETTER, what="The recordings")
    for folder in ("blocks", "wavs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(max(jobs, 1)) as pool:
        finished = pool.map(lambda block: _speak_apart(*block, root / "wavs"), pending)
        for _ in progress(finished, description="speech", total=len(pending), unit="block"):
            pass
    words: dict[str, list[tuple[str, float, float]]] = {}
    for result in results:
        words.update(read_json(result))
    return words


def _speak_apart(
    captions: Sequence[VoicedCaption], result: Path, record: Record, wavs: Path
) -> None:
    """Speaks one block in a process of its own (see ``Synthesiser``)."""
    try:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            process.submit(speak_block, captions, result, wavs).result()
    except Exception as error:
        raise RuntimeError(
            f"Synthesis of {result} failed ({error}); finished blocks are kept, run the stage again"
        ) from error
    write_record(result, record)


def speak_block(captions: Sequence[VoicedCaption], result: Path, wavs: Path) -> None:
    """Write a WAV file per caption, then the words of all of them to ``result``."""
    engine = Synthesiser()
    words = {}
    for caption in captions:
        samples, spoken = engine.speak(caption)
        if not spoken:
            continue
        words[caption.utterance_id] = spoken
        with atomic_path(wavs / f"{caption.utterance_id}.wav") as temporary:
            soundfile.write(temporary, samples, SAMPLING_RATE, subtype="PCM_16")
    write_text(result, json.dumps(words))


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    # Of 16 bits soxr dithers what is longer than three seconds with another seed each time.
    resampled = soxr.resample(samples.astype(np.float32), rate, SAMPLING_RATE, quality="MQ")
    return np.clip(np.rint(resampled), -(2**15), 2**15 - 1).astype(np.int16)


def _align(
    text: str, events: list[tuple[int, int]], end: int, rate: int
) -> list[tuple[str, float, float]]:
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
        words += [(w, round(start / rate, 4), round(stop / rate, 4)) for w in members]
    return words
