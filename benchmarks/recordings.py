"""Search in recordings of ten minutes.

Mini's test utterances, one of each image, are joined with pauses of 1 to 5 s, which hold pink
noise. A place is found if the best window begins within a second of the utterance. It needs what
``make demo`` makes.

Example:
    python -m benchmarks.recordings
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import MODEL, RECIPE, parser_of, print_table
from espnet_plugin.data.audio import read_mono
from espnet_plugin.data.scp import read_scp

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import SpeechCLIP

RATE = 16000
LENGTH = 600  # seconds of a recording
LEVELS = (40, 30, 20)  # dB of the noise below the speech


def main() -> None:
    """Places found by text, image and another speaker, and processor time of an hour of speech."""
    quick = parser_of(__doc__).parse_args().quick
    packed = next(MODEL.glob("*.zip"), None)  # it has the weight of its branches
    if packed is None:
        raise SystemExit(f"recordings: error: {MODEL}/*.zip is missing: run make demo")
    from espnet_plugin.inference.speechclip import SpeechCLIP

    model = SpeechCLIP.from_pretrained(packed, device="cpu")
    speech, asked = read_queries(model, number=20 if quick else None)
    kinds = list(asked)
    rows = []
    for level in LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            places = join(speech, Path(folder), level)
            seconds, shares = search(model, places, asked)
        found = [f"{100 * shares[kind]:.1f} %" for kind in kinds]
        rows.append((f"{level} dB", f"{seconds:.3g} s", str(len(places)), *found))
    header = ("noise below the speech", "an hour, processor time", "places")
    print_table((*header, *(f"at rank 1 by {kind}" for kind in kinds)), rows)


def read_queries(
    model: SpeechCLIP, *, number: int | None
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Waveforms of one utterance of each test image, and embeddings of what asks for them.

    Args:
        model: mini's.
        number: Use only so many images.

    Returns:
        (samples,) each; by kind of query (utterances, dim).
    """
    names = ("wav.scp", "text", "utt2image", "utt2spk", "image.scp")
    tables = (read_scp(RECIPE / "data" / "mini_test" / name) for name in names)
    wavs, texts, images, speakers, files = tables
    first = {images[name]: name for name in reversed(wavs)}
    said = sorted(first.values())[:number]
    others = [
        next(o for o in wavs if images[o] == images[name] and speakers[o] != speakers[name])
        for name in said
    ]
    voices = [RECIPE / wavs[name] for name in others]
    asked = {
        "text": model.encode_text([texts[name] for name in said]),
        "image": model.encode_image([RECIPE / files[images[name]] for name in said]),
        "another voice": model.encode_speech(voices, branch="both"),
    }
    return [read_mono(str(RECIPE / wavs[name]), RATE) for name in said], asked


def search(
    model: SpeechCLIP, places: Sequence[tuple[str, float]], asked: Mapping[str, np.ndarray]
) -> tuple[float, dict[str, float]]:
    """Embeds recordings and looks for the places in them.

    Args:
        model: What embeds.
        places: What ``join`` returned.
        asked: By kind of query, (places, dim).

    Returns:
        Processor seconds for an hour, and the share of places at rank 1, by kind.
    """
    from espnet_plugin.search.encoder import embed_recording

    started = time.process_time()
    embedded = {path: embed_recording(model, path) for path in sorted(dict(places))}
    seconds = time.process_time() - started
    vectors = np.concatenate([each for each, _ in embedded.values()])
    begins = [(path, w.start) for path, (_, each) in embedded.items() for w in each]
    hours = sum(w.end - w.start for _, each in embedded.values() for w in each) / 3600
    shares = {}
    for kind, queries in asked.items():
        best = [begins[row] for row in (queries @ vectors.T).argmax(axis=1)]
        pairs = zip(best, places, strict=True)
        right = [path == file and abs(at - start) <= 1 for (path, at), (file, start) in pairs]
        shares[kind] = float(np.mean(right))
    return seconds / hours, shares


def join(speech: list[np.ndarray], folder: Path, level: float) -> list[tuple[str, float]]:
    """Writes recordings of ten minutes; returns file and second of each utterance (samples,).

    The noise is so many dB below the speech.
    """
    import soundfile

    folder.mkdir(exist_ok=True)
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


if __name__ == "__main__":
    main()
