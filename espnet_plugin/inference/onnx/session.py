"""Embeds speech and images by onnxruntime, with the files of an export and without PyTorch.

A directory holds ``export.json``, one graph for speech and one for images. A graph is refused if
its digest is not that in ``export.json``, or if its weights are in another file.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.images import read_image
from espnet_plugin.data.scp import DataError
from espnet_plugin.inference.utterance import MAX_SECONDS, read_utterance

FILE, SPEECH, IMAGE = "export.json", "speech.onnx", "image.onnx"
FORMAT = 1
CUBIC = 3  # Pillow's number


class OnnxModel:
    """Embeds like SpeechCLIP's parallel branch, one item at a time.

    Args:
        directory: Directory of the export; each graph is read at its first use.
        fingerprint: Fingerprint of the model; an export of another model is refused.
        max_seconds: Number of seconds after which longer speech is cut.

    Raises:
        DataError: If the export is damaged or of another format, here and in every method.
    """

    def __init__(self, directory: Path, fingerprint: str, max_seconds: float | None = None) -> None:
        self.directory, self.max_seconds = directory, max_seconds or MAX_SECONDS
        path = directory / FILE
        try:
            self.export = json.loads(path.read_text(encoding="utf-8"))
            found = self.export["format_version"], self.export["fingerprint"]
            if found != (FORMAT, fingerprint):
                raise ValueError(f"it is of format {found[0]}, model {found[1]:.12}")
            self.sampling_rate: int = self.export["sampling_rate"]
        except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
            raise DataError(f"{path} cannot be used ({error!r}); export the model again") from error
        self._session = cache(self._open)

    def encode_speech(
        self, speech: Any, *, sampling_rate: int | None = None, branch: str | None = None
    ) -> np.ndarray:
        """Embeds one recording as :meth:`SpeechCLIP.encode_speech` does, (1, E), but only by the
        parallel branch."""
        if branch not in (None, "parallel"):
            raise ValueError(f"{self.directory}: only the parallel branch was exported")
        rates = {"sampling_rate": sampling_rate, "wanted_rate": self.sampling_rate}
        samples = read_utterance(speech, max_seconds=self.max_seconds, **rates)
        return self._row(SPEECH, self.waveform(samples))

    def hear(self, speech: Any, **options: Any) -> tuple[np.ndarray, None]:
        """Does what :meth:`SpeechCLIP.hear` does, without words, which an export does not have."""
        return self.encode_speech(speech, **options)[0], None

    def encode_image(self, image: Any) -> np.ndarray:
        """Embeds one image as :meth:`SpeechCLIP.encode_image` does, (1, E)."""
        return self._row(IMAGE, self.pixels(image))

    def run(self, graph: str, output: str, values: np.ndarray) -> np.ndarray:
        """One of a graph's outputs for one item, without the dimension of batches."""
        return np.asarray(self._session(graph).run([output], {"input": values[None]})[0][0])

    def waveform(self, samples: np.ndarray) -> np.ndarray:
        """Samples as the speech encoder takes them, (samples,), at least ``min_samples``."""
        samples = np.pad(samples, (0, max(0, self.export["min_samples"] - len(samples))))
        if self.export["normalize"]:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + np.float32(1e-5))
        return samples

    def pixels(self, image: Any) -> np.ndarray:
        """An image as the image tower takes it, (3, size, size)."""
        image, size = read_image(image), self.export["size"]
        width, height = (int(size * side / min(image.size)) for side in image.size)
        left, top = round((width - size) / 2), round((height - size) / 2)
        image = image.resize((width, height), CUBIC).crop((left, top, left + size, top + size))
        black, white = (np.float32(self.export[level]) for level in ("black", "white"))
        values = np.asarray(image, np.float32) / 255 * (white - black) + black
        return values.transpose(2, 0, 1)  # (size, size, 3) → (3, size, size)

    def _row(self, graph: str, values: np.ndarray) -> np.ndarray:
        row = self.run(graph, "embedding", values)
        return (row / np.linalg.norm(row))[None]

    def _open(self, name: str) -> Any:
        path = self.directory / name
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != self.export["digests"].get(name):
            raise DataError(f"{path}: changed since it was written; export the model again")
        if b"location" in content:  # the key of every reference to another file
            raise DataError(f"{path}: refers to other files, which are not read")
        return open_session(content)


def kept_export(fingerprint: str) -> Path:
    """Where the export of a model is kept."""
    from espnet_plugin.pretrained.released_cache import cache_directory

    return cache_directory() / "onnx" / fingerprint


def kept_model(fingerprint: str, max_seconds: float | None = None) -> OnnxModel | None:
    """A model's kept export, or None if there is none."""
    directory = kept_export(fingerprint)
    return OnnxModel(directory, fingerprint, max_seconds) if directory.is_dir() else None


def open_session(model: bytes | Path) -> Any:
    """onnxruntime's session of a graph, on the CPU; it knows no custom operations."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{error}: pip install onnx onnxruntime (extra: onnx)") from error
    options = onnxruntime.SessionOptions()
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # one number for each level
    options.intra_op_num_threads = int(threads or 0)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
