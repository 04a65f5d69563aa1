"""How well do frozen hidden states tell the content words? A linear probe at each word's centre."""

from __future__ import annotations

import argparse
import dataclasses
import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from espnet_plugin.evaluation.alignments import Word, read_ctm
from espnet_plugin.utils.command import command_errors

from .audio import load_batch
from .encoder import encode
from .lexicon import CONTENT_WORDS
from .units import FRAME_STRIDE, RECEPTIVE_FIELD

_CLASSES = {word: index for index, word in enumerate(sorted(CONTENT_WORDS))}


@dataclasses.dataclass(frozen=True)
class WordFrames:
    """Hidden states at the centres of content words (words, layers + 1, dim), classes (words,)."""

    states: torch.Tensor
    classes: torch.Tensor


def word_frames(model: nn.Module, wavs: Path, words: dict[str, list[Word]]) -> WordFrames:
    """Encode utterances and keep the frame nearest to each content word's centre."""
    states, classes = [], []
    ids = sorted(words, key=lambda utterance_id: words[utterance_id][-1].start)
    for begin in range(0, len(ids), 25):
        batch = load_batch(wavs, ids[begin : begin + 25])
        hidden = torch.stack(encode(model, batch), dim=2)  # (batch, frames, layers + 1, dim)
        for row, utterance_id in zip(hidden, batch.utterance_ids, strict=True):
            for word in words[utterance_id]:
                if word.text in _CLASSES:
                    centre = (word.start + word.end) / 2 * 16000.0
                    frame = round((centre - RECEPTIVE_FIELD / 2) / FRAME_STRIDE)
                    states.append(row[max(0, min(frame, len(row) - 1))])
                    classes.append(_CLASSES[word.text])
    return WordFrames(torch.stack(states), torch.tensor(classes))


def probe_accuracy(train: WordFrames, test: WordFrames) -> list[float]:
    """Return the accuracy of a linear classifier on each layer, and on all of them together."""
    layers = [train.states[:, n] for n in range(train.states.shape[1])]
    tests = [test.states[:, n] for n in range(test.states.shape[1])]
    layers.append(train.states.flatten(1))
    tests.append(test.states.flatten(1))
    return [
        _linear_accuracy(x, train.classes, y, test.classes)
        for x, y in zip(layers, tests, strict=True)
    ]


def _linear_accuracy(x: torch.Tensor, y: torch.Tensor, xt: torch.Tensor, yt: torch.Tensor) -> float:
    mean, std = x.mean(0), x.std(0) + 1e-4
    x, xt = (x - mean) / std, (xt - mean) / std
    torch.manual_seed(0)
    layer = nn.Linear(x.shape[1], len(_CLASSES))
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(x), y) + 1e-3 * layer.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return (layer(xt).argmax(1) == yt).float().mean().item()


@command_errors("probe")
def main(cmd: list[str] | None = None) -> None:
    """Print the probe's accuracy per layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("downloads/mini"))
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--train_utterances", type=int, default=1500)
    args = parser.parse_args(cmd)
    from transformers import HubertModel

    model = HubertModel.from_pretrained(args.root / "hubert")
    words = read_ctm(args.data_dir / "mini_train" / "words.ctm")
    step = max(1, len(words) // args.train_utterances)
    train = word_frames(model, args.root / "wavs", {i: words[i] for i in sorted(words)[::step]})
    test_words = read_ctm(args.data_dir / "mini_test" / "words.ctm")
    test = word_frames(model, args.root / "wavs", test_words)
    accuracy = probe_accuracy(train, test)
    names = [f"state {n}" for n in range(len(accuracy) - 1)] + ["all"]
    for name, value in zip(names, accuracy, strict=True):
        logging.info(f"{name}: {value:.3f}")


if __name__ == "__main__":
    main()
