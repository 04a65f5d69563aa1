"""Search in recordings of ten minutes.

Test utterances are joined with pauses of 1 to 5 s, which hold pink noise. A place is found if the
best window begins within a second of an utterance of what was asked for. Mini's model is that of
``make demo``. The model of digits is in the repository, and its sets need stages 1 and 2 of
``./run.sh --corpus digits``.

Example:
    python -m benchmarks.recordings --corpus digits
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import RECIPE, parser_of, print_table
from espnet_plugin.data.scp import read_scp
from espnet_plugin.media.audio import read_mono

if TYPE_CHECKING:
    from espnet_plugin.inference.speechclip import SpeechCLIP

RATE = 16000
LENGTH = 600  # seconds of a recording
LEVELS = (40, 30, 20)  # dB of the noise below the speech


@dataclass(frozen=True)
class Joined:
    """What is joined, and who asks.

    Attributes:
        model: Its path, in the recipe.
        said: Set whose utterances are joined.
        voices: Set whose utterances ask.
        each: Utterances of an image that are joined.
    """

    model: str
    said: str
    voices: str
    each: int


CORPORA = {
    "mini": Joined("exp/speechclip_mini_hybrid_plus/model", "mini_test", "mini_test", each=1),
    "digits": Joined("models/digits", "digits_test", "digits_strangers", each=5),
}


def main() -> None:
    """Places found by text, image and another speaker, and processor time of an hour of speech."""
    parser = parser_of(__doc__)
    parser.add_argument("--corpus", choices=[*CORPORA], default="mini")
    args = parser.parse_args()
    corpus = CORPORA[args.corpus]
    stored = RECIPE / corpus.model  # it has the weight of its branches
    if not stored.exists():
        raise SystemExit(f"recordings: error: {stored} is missing: train it first")
    from espnet_plugin.inference.speechclip import SpeechCLIP

    model = SpeechCLIP.from_pretrained(stored, device="cpu")
    speech, asked = read_queries(model, corpus, number=20 if args.quick else None)
    kinds = list(asked)
    rows = []
    for level in LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            places = join([wave for wave, _ in speech], Path(folder), level)
            answers = defaultdict(list)
            for place, (_, image) in zip(places, speech, strict=True):
                answers[image].append(place)
            seconds, shares = search(model, list(answers.values()), asked)
        found = [f"{100 * shares[kind]:.1f} %" for kind in kinds]
        rows.append((f"{level} dB", f"{seconds:.3g} s", str(len(places)), *found))
    header = ("noise below the speech", "an hour, processor time", "places")
    print_table((*header, *(f"R@1 by {kind}" for kind in kinds)), rows)


def read_queries(
    model: SpeechCLIP, corpus: Joined, *, number: int | None
) -> tuple[list[tuple[np.ndarray, str]], dict[str, np.ndarray]]:
    """Utterances of the test images, and embeddings of what asks for them.

    Args:
        model: Of the corpus.
        corpus: What is read.
        number: Use only so many images.

    Returns:
        Waveform (samples,) and image of each utterance, images in turn; by kind of query (images,
        dim), in the order in which the images come first.
    """
    said, voices = RECIPE / "data" / corpus.said, RECIPE / "data" / corpus.voices
    wavs, texts, speakers = (read_scp(said / name) for name in ("wav.scp", "text", "utt2spk"))
    files, of = read_scp(said / "image.scp"), _utterances(said)
    images = sorted(of)[:number]
    first = [of[image][0] for image in images]
    asking, spoken = read_scp(voices / "wav.scp"), _utterances(voices)
    who = read_scp(voices / "utt2spk")
    others = [
        next(name for name in spoken[image] if who[name] != speakers[own])
        for image, own in zip(images, first, strict=True)
    ]
    asked = {
        "text": model.encode_text([texts[name] for name in first]),
        "image": model.encode_image([RECIPE / files[image] for image in images]),
        "another speaker": model.encode_speech([RECIPE / asking[o] for o in others], branch="both"),
    }
    rounds = [(of[image][turn], image) for turn in range(corpus.each) for image in images]
    return [(read_mono(str(RECIPE / wavs[name]), RATE), image) for name, image in rounds], asked


def _utterances(data: Path) -> dict[str, list[str]]:
    """Image → its utterances."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, image in sorted(read_scp(data / "utt2image").items()):
        found[image].append(name)
    return found


def search(
    model: SpeechCLIP,
    answers: Sequence[Sequence[tuple[str, float]]],
    asked: Mapping[str, np.ndarray],
) -> tuple[float, dict[str, float]]:
    """Embeds recordings and looks for the places in them.

    Args:
        model: What embeds.
        answers: File and second of each place that answers, by query.
        asked: By kind of query, (queries, dim).

    Returns:
        Processor seconds for an hour, and the share of queries whose first place is right, by kind.
    """
    from espnet_plugin.apps.search.encoder import embed_recording

    files = {path for places in answers for path, _ in places}
    started = time.process_time()
    embedded = {path: embed_recording(model, path) for path in sorted(files)}
    seconds = time.process_time() - started
    vectors = np.concatenate([each for each, _ in embedded.values()])
    begins = [(path, w.start) for path, (_, each) in embedded.items() for w in each]
    hours = sum(w.end - w.start for _, each in embedded.values() for w in each) / 3600
    shares = {}
    for kind, queries in asked.items():
        best = [begins[row] for row in (queries @ vectors.T).argmax(axis=1)]
        right = [
            any(path == file and abs(at - start) <= 1 for file, start in places)
            for (path, at), places in zip(best, answers, strict=True)
        ]
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
