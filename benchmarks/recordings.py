"""Search in recordings of ten minutes.

Mini's test utterances, one of each image, are joined with pauses of 1 to 5 s, which hold pink
noise. A place is found if the best window begins within a second of the utterance.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import MissingInputError, Row, Settings, Spread
from espnet_plugin.data.audio import read_mono
from espnet_plugin.data.scp import read_scp

SECONDS = 120
RATE = 16000
LENGTH = 600  # seconds of a recording
LEVELS = (40, 30, 20)  # dB of the noise below the speech


def rows(settings: Settings) -> Iterator[Row]:
    """Places found by text, image and another speaker; processor time of an hour of speech."""
    from espnet_plugin.inference.speechclip import SpeechCLIP
    from espnet_plugin.search.encoder import embed_recording

    recipe = settings.mini.parents[1]
    experiment, data = recipe / "exp" / "speechclip_mini_hybrid_plus", recipe / "data" / "mini_test"
    packed = next(experiment.glob("*.zip"), None)  # it has the weight of its branches
    if packed is None:
        raise MissingInputError(f"{experiment}/*.zip is missing: run make demo")
    model = SpeechCLIP.from_pretrained(packed, device="cpu")
    names = ("wav.scp", "text", "utt2image", "utt2spk", "image.scp")
    wavs, texts, images, speakers, files = (read_scp(data / name) for name in names)
    first = {images[name]: name for name in reversed(wavs)}
    said = sorted(first.values())[: 20 if settings.quick else None]
    others = [
        next(o for o in wavs if images[o] == images[name] and speakers[o] != speakers[name])
        for name in said
    ]
    voices = [recipe / wavs[name] for name in others]
    asked = {
        "text": model.encode_text([texts[name] for name in said]),
        "image": model.encode_image([recipe / files[images[name]] for name in said]),
        "another voice": model.encode_speech(voices, branch="both"),
    }
    speech = [read_mono(str(recipe / wavs[name]), RATE) for name in said]
    for level in LEVELS:
        places = join(speech, settings.work_dir / f"{level}", level)
        started = time.process_time()
        embedded = {path: embed_recording(model, path) for path in sorted(dict(places))}
        seconds = time.process_time() - started
        vectors = np.concatenate([each for each, _ in embedded.values()])
        begins = [(path, w.start) for path, (_, each) in embedded.items() for w in each]
        hours = sum(w.end - w.start for _, each in embedded.values() for w in each) / 3600
        shares = []
        for kind, queries in asked.items():
            best = [begins[row] for row in (queries @ vectors.T).argmax(axis=1)]
            pairs = zip(best, places, strict=True)
            right = [path == file and abs(at - start) <= 1 for (path, at), (file, start) in pairs]
            shares.append(f"{kind} {100 * np.mean(right):.1f} %")
        yield Row(
            f"an hour of speech, mini's model, noise {level} dB below the speech",
            Spread.of([seconds / hours]),
            note=f"{len(places)} places at rank 1 by {', '.join(shares)}",
        )


def join(speech: list[np.ndarray], folder: Path, level: float) -> list[tuple[str, float]]:
    """Writes recordings of ten minutes; returns file and second of each utterance (samples,).

    The noise is so many dB below the speech.
    """
    import soundfile

    folder.mkdir()
    chance, places = np.random.default_rng(0), []
    loudness = np.concatenate(speech).std() * 10 ** (-level / 20)
    parts, length, path = [], 0, ""
    for number, utterance in enumerate(speech):
        spectrum = np.fft.rfft(chance.standard_normal(int(chance.uniform(1, 5) * RATE)))
        noise = np.fft.irfft(spectrum / np.sqrt(1 + np.arange(len(spectrum))))
        path = path if parts else str(folder / f"{number:04d}.flac")
        parts += [loudness * noise / noise.std(), utterance]
        places.append((path, (length + len(noise)) / RATE))
        length += len(noise) + len(utterance)
        if length > LENGTH * RATE or number + 1 == len(speech):
            soundfile.write(path, np.clip(np.concatenate(parts), -1, 1), RATE)
            parts, length = [], 0
    return places
