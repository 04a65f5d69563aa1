"""Linear classifiers of words, phones and speakers on each hidden state, on the mini corpus."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from local.front_end.lexicon import PRONUNCIATIONS
from local.front_end.voices import RATE, Recording
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.speechclip.backends.huggingface import HuggingFaceBackend
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from s3prl_upstream.expert import UpstreamExpert

Example = tuple[Tensor, str]  # features of each hidden state (states, dim), and label

PROBES = ("word", "phone", "speaker")
BATCH = 16
PENALTY = 1.0  # of the ridge regression, on standardised features


@dataclass(frozen=True)
class ProbeResult:
    """Accuracy of one probe in each hidden state.

    Attributes:
        accuracy: In percent, (states,).
        chance: Share of the most frequent label in the test examples, in percent.
        classes: Number of labels.
        examples: Number of test examples.
    """

    accuracy: list[float]
    chance: float
    classes: int
    examples: int


class BareEncoder:
    """A speech encoder without a trained block, called as s3prl calls upstreams.

    Args:
        folder: A model of transformers: HuBERT, wav2vec 2.0 or WavLM.
    """

    def __init__(self, folder: str) -> None:
        self.encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=folder))

    def get_downsample_rates(self) -> int:
        """Samples per frame."""
        return self.encoder.stride

    def __call__(self, wavs: list[Tensor]) -> dict[str, Any]:
        """``hidden_states`` and ``frame_lengths``."""
        lengths = torch.tensor([len(wav) for wav in wavs])
        states = self.encoder(pad_sequence(wavs, batch_first=True), lengths)
        return {"hidden_states": states.hidden_states.unbind(1), "frame_lengths": states.lengths}


def collect(
    upstream: UpstreamExpert | BareEncoder, recordings: Sequence[Recording]
) -> dict[str, list[Example]]:
    """Examples of all probes.

    A word's features are the mean of its frames; the corpus has no phone boundaries, so a phone's
    are the mean over an equal share of its word; a speaker's are the mean of the utterance.
    """
    examples: dict[str, list[Example]] = {probe: [] for probe in PROBES}
    stride = upstream.get_downsample_rates() / RATE
    for start in range(0, len(recordings), BATCH):
        batch = recordings[start : start + BATCH]
        with torch.inference_mode():
            result = upstream([torch.from_numpy(recording.samples()) for recording in batch])
        states = torch.stack(result["hidden_states"], dim=1)  # (batch, states, frames, dim)
        for recording, own, frames in zip(
            batch, states, result["frame_lengths"].tolist(), strict=True
        ):
            examples["speaker"].append((own[:, :frames].mean(dim=1), recording.speaker))
            for word in recording.words:
                edges = word.start / stride, word.end / stride
                examples["word"].append((_mean(own[:, :frames], *edges), word.text))
                phones = PRONUNCIATIONS.get(word.text, "").split()
                step = (edges[1] - edges[0]) / max(1, len(phones))
                for index, phone in enumerate(phones):
                    begin = edges[0] + index * step
                    features = _mean(own[:, :frames], begin, begin + step)
                    examples["phone"].append((features, phone.rstrip("012")))
    return examples


def probe(train: Sequence[Example], test: Sequence[Example]) -> ProbeResult:
    """Accuracy of ridge regression onto the labels, state by state.

    Args:
        train: Examples to fit.
        test: Examples to score; those with labels that training lacks are left out.

    Raises:
        ValueError: If no test example is left.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs, labels = _stack(train)
    known = set(labels)
    test = [example for example in test if example[1] in known]
    if not test:
        raise ValueError("no label of the test examples occurs in training")
    tests, wanted = _stack(test)
    accuracy = []
    for state in range(inputs.shape[1]):
        reader = make_pipeline(StandardScaler(), RidgeClassifier(PENALTY))
        reader.fit(inputs[:, state], labels)
        accuracy.append(100 * float(reader.score(tests[:, state], wanted)))
    most = Counter(wanted).most_common(1)[0][1]
    return ProbeResult(accuracy, 100 * most / len(wanted), len(known), len(wanted))


def layer_weights(checkpoint: Path) -> list[float]:
    """The learned weights over hidden states of one of s3prl's downstream checkpoints."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return torch.softmax(state["Featurizer"]["weights"], dim=0).tolist()


def draw(
    path: Path,
    states: Sequence[str],
    results: dict[str, ProbeResult],
    weights: dict[str, list[float]],
) -> None:
    """Accuracies over states, and below them the layer weights of downstream tasks.

    Args:
        path: The figure's file.
        states: Names of the hidden states.
        results: Of each probe.
        weights: Of each task, (states,).

    Raises:
        ImportError: Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib: pip install matplotlib (extra: recipe)"
        ) from error
    ticks = {"xticks": range(len(states)), "xticklabels": states}
    figure = Figure(figsize=(7, 6 if weights else 3.5), layout="constrained")
    axes = figure.subplots(2 if weights else 1, 1, squeeze=False)[:, 0]
    for (name, result), marker in zip(results.items(), "os^", strict=False):
        (line,) = axes[0].plot(
            result.accuracy, marker=marker, label=f"{name}, {result.classes} classes"
        )
        axes[0].axhline(result.chance, color=line.get_color(), linestyle=":", linewidth=1)
    axes[0].plot([], [], ":", color="gray", label="always the most frequent")
    axes[0].set(ylabel="accuracy (%)", ylim=(0, 100), **ticks)
    axes[0].set_title("linear probes of each hidden state")
    axes[0].legend(ncols=2, loc="center")
    if weights:
        image = axes[1].imshow(list(weights.values()), aspect="auto", cmap="Blues", vmin=0)
        axes[1].set(xlabel="hidden state", **ticks)
        axes[1].set(yticks=range(len(weights)), yticklabels=list(weights))
        axes[1].set_title("learned layer weights of downstream tasks")
        figure.colorbar(image, ax=axes[1])
    figure.savefig(path, dpi=150)


def _stack(examples: Sequence[Example]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Features (examples, states, dim) and labels (examples,)."""
    features, labels = zip(*examples, strict=True)
    return torch.stack(features).double().numpy(), labels


def _mean(states: Tensor, begin: float, end: float) -> Tensor:
    """Mean over the frames between two positions, at least one, (states, dim)."""
    first = min(round(begin), states.size(1) - 1)
    last = max(first + 1, min(round(end), states.size(1)))
    return states[:, first:last].mean(dim=1)
