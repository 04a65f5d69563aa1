"""A small CTC word recogniser on the frozen encoder's hidden states, as a baseline.

CLIP's text tower reads its transcripts (``run.sh --transcripts``): this is image search by speech
without SpeechCLIP. It trains on the same recordings and, unlike SpeechCLIP, on their captions. Its
units are the words of the training captions.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.data.frame_store import FRAMES, StoredFrames
from espnet_plugin.data.scp import read_scp
from espnet_plugin.evaluation.word_errors import word_error_rate
from espnet_plugin.inference.speech_states import frames_of, read_speech
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_encoder import (
    FrozenSpeechEncoder,
    LayerWeighting,
    batch_states,
)
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.progress import progress

from .audio import length_batches
from .config import random_stream

BLANK = 0
BATCH = 32  # utterances that are recognised at a time


class CtcRecogniser(nn.Module):
    """Weighted layers, a convolution that halves the frame rate, a bidirectional GRU, words.

    Args:
        num_layers: Hidden states of the encoder, its input among them.
        dim: Their size.
        num_words: Units; the blank is one more.
    """

    def __init__(self, num_layers: int, dim: int, num_words: int) -> None:
        super().__init__()
        hidden_dim, dropout = 128, 0.1
        self.layer_weighting = LayerWeighting(num_layers, normalize=True)
        self.convolution = nn.Conv1d(dim, hidden_dim, kernel_size=5, stride=2, padding=2)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.GRU(
            hidden_dim,
            hidden_dim,
            num_layers=2,
            batch_first=True,
            bidirectional=True,
            dropout=dropout,
        )
        self.output = nn.Linear(2 * hidden_dim, num_words + 1)

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Recognise a padded batch.

        Args:
            states: Hidden states, zero at padding, (batch, layers + 1, frames, dim).
            lengths: Frames, (batch,).

        Returns:
            Log-probabilities (batch, frames / 2, words + 1) and their lengths (batch,).
        """
        frames = self.layer_weighting(states)  # (batch, frames, dim)
        padding = torch.arange(frames.size(1)) >= lengths[:, None]
        frames = frames.masked_fill(padding[..., None], 0.0)
        x = F.gelu(self.convolution(frames.transpose(1, 2))).transpose(1, 2)
        lengths = (lengths + 1) // 2  # stride 2, padding 2, kernel 5
        packed = nn.utils.rnn.pack_padded_sequence(
            self.dropout(x), lengths, batch_first=True, enforce_sorted=False
        )
        x, _ = nn.utils.rnn.pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return self.output(x).log_softmax(dim=-1), lengths


def greedy_words(log_probabilities: Tensor, lengths: Tensor, words: Sequence[str]) -> list[str]:
    """Return the best unit of each frame as text, without repetitions and blanks."""
    texts = []
    for row, length in zip(log_probabilities.argmax(dim=-1), lengths.tolist(), strict=True):
        units = torch.unique_consecutive(row[:length]).tolist()
        texts.append(" ".join(words[unit - 1] for unit in units if unit != BLANK))
    return texts


def train_recogniser(
    states: StoredFrames,
    captions: Mapping[str, str],
    *,
    steps: int,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
) -> tuple[CtcRecogniser, list[str]]:
    """Train on stored hidden states.

    Args:
        states: Hidden states as stage 6 stores them.
        captions: Utterance → what is said.
        steps: Optimiser steps.
        batch_size: Utterances a step.
        learning_rate: The highest; it rises over a tenth of the steps and falls to nothing.

    Returns:
        The recogniser in evaluation mode, and its words.
    """
    torch.manual_seed(0)
    words = sorted({word for key in states for word in captions[key].split()})
    unit_of = {word: unit for unit, word in enumerate(words, BLANK + 1)}
    targets = {key: torch.tensor([unit_of[w] for w in captions[key].split()]) for key in states}
    _, layers, dim = states.read(next(iter(states)), 0, 1)[FRAMES].shape
    model = CtcRecogniser(layers, dim, len(words))
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=steps, pct_start=0.1
    )
    sizes = {key: int(frames[1]) for key, frames in states.items()}
    batches = length_batches(sizes, batch_size, random_stream(0, "recogniser"))
    for step in progress(range(steps), description="CTC recogniser", unit="step"):
        keys = next(batches)
        log_probabilities, lengths = model(*_load(states, keys))
        loss = F.ctc_loss(
            log_probabilities.transpose(0, 1),
            torch.cat([targets[key] for key in keys]),
            lengths,
            torch.tensor([len(targets[key]) for key in keys]),
            blank=BLANK,
            zero_infinity=True,
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 4.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            logging.info(f"step {step + 1}: loss {loss.item():.3f}")
    return model.eval(), words


@torch.no_grad()
def recognise(
    model: CtcRecogniser,
    words: Sequence[str],
    encoder: FrozenSpeechEncoder,
    wavs: Mapping[str, str],
) -> dict[str, str]:
    """Transcribe recordings; return the text of each utterance."""
    keys = sorted(wavs, key=lambda key: Path(wavs[key]).stat().st_size)
    texts: dict[str, str] = {}
    starts = range(0, len(keys), BATCH)
    for start in progress(starts, description="recognising", unit="batch"):
        batch = keys[start : start + BATCH]
        speech = [read_speech(wavs[key], encoder.sampling_rate) for key in batch]
        frames, lengths = frames_of(encoder, speech)
        states = pad_sequence(frames.split(lengths), batch_first=True).transpose(1, 2)
        texts.update(
            zip(batch, greedy_words(*model(states, torch.tensor(lengths)), words), strict=True)
        )
    return texts


def _load(states: StoredFrames, keys: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return hidden states (batch, layers + 1, frames, dim) and their frames (batch,)."""
    read = [states.read(key) for key in keys]
    batch = {
        f"speech_states_{name}": pad_sequence(
            [torch.from_numpy(arrays[name]) for arrays in read], batch_first=True
        )
        for name in read[0]
    }
    padded = batch_states(
        None,
        speech_states=batch.pop(f"speech_states_{FRAMES}"),
        speech_states_lengths=torch.tensor([len(arrays[FRAMES]) for arrays in read]),
        **batch,
    )
    return padded.hidden_states.float(), padded.lengths


def get_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--train_dir", type=Path, default=Path("dump/raw/mini_train"))
    parser.add_argument("--test_dirs", type=Path, nargs="+", default=[Path("dump/raw/mini_test")])
    parser.add_argument("--encoder", default="downloads/mini/hubert", help="the frozen encoder")
    parser.add_argument("--output_dir", type=Path, default=Path("exp/mini_recogniser"))
    parser.add_argument("--steps", type=int, default=400)
    return parser


@command_errors("recogniser")
def main(cmd: Sequence[str] | None = None) -> None:
    """Train, transcribe the test sets into OUTPUT_DIR/<set>/text, and log the word errors."""
    args = get_parser().parse_args(cmd)
    states = StoredFrames(args.train_dir / "speech_states.scp")
    started = time.monotonic()
    model, words = train_recogniser(states, read_scp(args.train_dir / "text"), steps=args.steps)
    logging.info(f"{len(words)} words, {args.steps} steps, {time.monotonic() - started:.0f} s")
    encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=args.encoder))
    for directory in args.test_dirs:
        texts = recognise(model, words, encoder, read_scp(directory / "wav.scp"))
        lines = (f"{key} {texts[key]}".rstrip() + "\n" for key in sorted(texts))
        write_text(args.output_dir / directory.name / "text", "".join(lines))
        rate = word_error_rate(read_scp(directory / "text"), texts)
        logging.info(f"{args.output_dir / directory.name / 'text'}: {100 * rate:.1f} % word errors")


if __name__ == "__main__":
    main()
