"""What each hidden state knows: words, phones and speakers, read by linear classifiers.

It needs the mini corpus, where all three are known. A trained model's last state is its block's.
Compared with the others, it shows what visual grounding changed.

Example:
    python -m local.front_end.probing MODEL downloads/mini OUT --superb exp/superb/speechclip_plus
    python -m local.front_end.probing downloads/mini/hubert downloads/mini OUT
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from local.front_end.voices import RATE, Recording, read_pronunciations, read_recordings
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.speechclip.backends.huggingface import HuggingFaceBackend
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors
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
    """A speech encoder without a trained block, which s3prl could call as an upstream.

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

    A word's features are the mean of its frames. A phone's are the mean over an equal share of its
    word, because the corpus has no phone boundaries. A speaker's are the mean of the utterance.
    """
    pronunciations = read_pronunciations()
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
                phones = pronunciations.get(word.text.upper(), [])
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
        test: Examples to score; those with labels unknown in training are skipped.

    Raises:
        ValueError: If no test example remains.
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
    """
    from matplotlib.figure import Figure

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


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "model", help="as the upstream's -k, or the folder of a bare speech encoder (HuBERT)"
    )
    parser.add_argument("mini", type=Path, help="the mini corpus, downloads/mini")
    parser.add_argument("directory", type=Path, help="folder for probing.json and probing.png")
    parser.add_argument("--size", type=int, default=600, help="training utterances")
    parser.add_argument(
        "--superb", type=Path, help="folder of one upstream's SUPERB runs, to draw their weights"
    )
    return parser


@command_errors("probing")
def main(cmd: Sequence[str] | None = None) -> None:
    """Prints the table and writes it with the figure."""
    args = get_parser().parse_args(cmd)
    recordings = read_recordings(args.mini)["train"][: round(1.5 * args.size)]
    is_bare = (Path(args.model) / "config.json").is_file()
    upstream = (BareEncoder if is_bare else UpstreamExpert)(args.model)
    # captions of other images, by the same voices
    train = collect(upstream, recordings[: args.size])
    test = collect(upstream, recordings[args.size :])
    results = {name: probe(train[name], test[name]) for name in PROBES}
    runs = sorted(args.superb.glob("*/*best*.ckpt")) if args.superb else []
    weights = {path.parent.name: layer_weights(path) for path in runs}
    args.directory.mkdir(parents=True, exist_ok=True)
    content = {name: vars(result) for name, result in results.items()} | {"layer_weights": weights}
    write_text(args.directory / "probing.json", json.dumps(content, indent=2) + "\n")
    states = [f"state {number}" for number in range(len(results["word"].accuracy))]
    if not is_bare:
        states[-1] = "block"
    draw(args.directory / "probing.png", states, results, weights)
    heads = [*states, "chance"]
    print(f"| probe | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(heads)}")
    for name, result in results.items():
        values = [*result.accuracy, result.chance]
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |")


def _stack(examples: Sequence[Example]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Features (examples, states, dim) and labels (examples,)."""
    features, labels = zip(*examples, strict=True)
    return torch.stack(features).double().numpy(), labels


def _mean(states: Tensor, begin: float, end: float) -> Tensor:
    """Mean over the frames between two positions, at least one, (states, dim)."""
    first = min(round(begin), states.size(1) - 1)
    last = max(first + 1, min(round(end), states.size(1)))
    return states[:, first:last].mean(dim=1)


if __name__ == "__main__":
    main()
