"""Writes a model as ONNX files, in int8 where that hardly changes what they compute."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.data.images import read_image
from espnet_plugin.inference.onnx import session as onnx
from espnet_plugin.inference.onnx.session import IMAGE, SPEECH
from espnet_plugin.inference.speechclip import SpeechCLIP
from espnet_plugin.inference.utterance import read_utterance
from espnet_plugin.pretrained.fingerprint import model_fingerprint
from espnet_plugin.pretrained.storage import load_clip
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.utils.scratch import new_directory

COSINE = 0.999  # of int8 and float32, at least
TOLERANCE = 1e-4  # of float32, relative to the largest value
NOISE_SECONDS = (1.0, 4.0, 2.3)
OUTPUTS = {SPEECH: ["embedding", "states"], IMAGE: ["embedding"]}
LENGTHS = {SPEECH: {"input": {1: "samples"}, "states": {2: "frames"}}}  # the rest is fixed


def export_onnx(model: SpeechCLIP, *, recordings: Sequence[str] = ()) -> dict[str, Any]:
    """Exports speech encoder, block, parallel branch and image tower to the folder of exports.

    A graph is in int8 if every output, for noise and the recordings or for images, has a cosine of
    at least 0.999 with the output in float32. Raises a ValueError if the model has no parallel
    branch or another encoder, or if onnxruntime gives other values than PyTorch.

    Args:
        model: The model to export, on the CPU.
        recordings: Paths of recordings; without them, int8 is judged by noise alone.

    Returns:
        The content of ``export.json``, and ``directory``.
    """
    encoder: Any = model.model.speech_encoder
    if "parallel" not in model.branches or not isinstance(encoder.backend, HuggingFaceBackend):
        raise ValueError(f"{model.source}: export needs parallel: true and a huggingface encoder")
    clip = load_clip(model.source, text_tower=False, trust_remote_code=model.trust_remote_code)
    rng, rate = np.random.default_rng(0), model.sampling_rate
    heard = [rng.normal(0, 0.1, round(time * rate)).astype(np.float32) for time in NOISE_SECONDS]
    heard += [read_utterance(path, sampling_rate=None, wanted_rate=rate) for path in recordings]
    images = [np.full((8, 8, 3), level, np.uint8) for level in (0, 255)]
    images += [rng.integers(0, 256, size, np.uint8) for size in ((300, 400, 3), (90, 60, 3))]
    pixels = [clip.preprocess(read_image(image)).numpy() for image in images]  # (3, size, size)
    export: dict[str, Any] = {
        "format_version": onnx.FORMAT,
        "model": str(model.source),
        "clip": clip.config.name,
        "fingerprint": model_fingerprint(model.source),
        "sampling_rate": rate,
        "min_samples": encoder.min_samples,
        "normalize": encoder.normalize_waveform,
        "size": pixels[0].shape[-1],
        "black": pixels[0][:, 0, 0].tolist(),
        "white": pixels[1][:, 0, 0].tolist(),
    }
    directory = onnx.kept_export(export["fingerprint"])
    with new_directory(directory, force=True) as target:
        ours = onnx.OnnxModel(_write(target, export), export["fingerprint"])
        speech, seen = list(map(ours.waveform, heard)), list(map(ours.pixels, images))
        export["precisions"] = {
            SPEECH: _export(target / SPEECH, _Speech(model), speech, speech),
            IMAGE: _export(target / IMAGE, clip.image_tower, seen, pixels),
        }
        _write(target, export)
    return {**export, "directory": str(directory)}


def use_export(model: SpeechCLIP) -> None:
    """Lets the model take hidden states from its kept export, if there is one, on the CPU."""
    kept = onnx.kept_model(model_fingerprint(model.source))
    if kept is None or torch.device(model.device).type != "cpu":
        return

    def states(speech: Tensor, _lengths: Tensor, ends: Sequence[int]) -> Tensor:
        parts = [row[:end].numpy() for row, end in zip(speech, ends, strict=True)]
        rows = [torch.from_numpy(kept.run(SPEECH, "states", part)) for part in parts]
        return pad_sequence([row.transpose(0, 1) for row in rows], True).transpose(1, 2)

    encoder: Any = model.model.speech_encoder
    encoder.backend.forward = states


class _Speech(nn.Module):
    def __init__(self, model: SpeechCLIP) -> None:
        super().__init__()
        self.net: Any = model.model

    def forward(self, speech: Tensor) -> tuple[Tensor, Tensor]:
        """Turns prepared samples (1, samples) into the parallel embedding (1, E) and states."""
        states = self.net.speech_encoder.backend.unpadded(speech)
        frames = torch.ones_like(states[:, 0, :, 0], dtype=torch.long).sum(dim=1)  # (1,)
        block = self.net.run_block(SpeechStates(states, frames))
        return self.net.embed_parallel([block]), states


def _export(path: Path, part: Any, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> str:
    """Writes a graph, compares its outputs with PyTorch's, and returns its precision.

    The graph gets ``ours`` and PyTorch ``theirs``: the same items, prepared by each side.
    """
    with torch.no_grad():
        wanted = [
            row.numpy() for each in theirs for row in part.eval()(torch.from_numpy(each)[None])
        ]
    # with a gradient, PyTorch's attention uses no operation that ONNX lacks
    example = torch.from_numpy(theirs[0])[None].clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns of shapes
        options = {"opset_version": 18, "dynamic_axes": LENGTHS.get(path.name), "dynamo": False}
        names = {"input_names": ["input"], "output_names": OUTPUTS[path.name]}
        torch.onnx.export(part, (example,), str(path), **names, **options)
    exact = _outputs(path, ours)
    for found, expected in zip(exact, wanted, strict=True):
        if not abs(found - expected).max() <= TOLERANCE * abs(expected).max():  # NaN is not
            raise ValueError(f"{path.name}: onnxruntime and PyTorch differ; use the model as it is")
    from onnxruntime.quantization import quantize_dynamic

    small = path.with_name(f"int8-{path.name}")
    quantize_dynamic(path, small, op_types_to_quantize=["MatMul"], per_channel=True)
    pairs = zip(exact, _outputs(small, ours), strict=True)
    cosine = np.min([np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs])
    small.replace(path) if cosine >= COSINE else small.unlink()
    return f"{'int8' if cosine >= COSINE else 'float32'} (cosine of both {cosine:.4f})"


def _outputs(path: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    session = onnx.open_session(path)
    return [row for values in inputs for row in session.run(None, {"input": values[None]})]


def _write(directory: Path, export: dict[str, Any]) -> Path:
    files = [path for path in directory.iterdir() if path.name != onnx.FILE]
    export["digests"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (directory / onnx.FILE).write_text(json.dumps(export, indent=1) + "\n", encoding="utf-8")
    return directory
