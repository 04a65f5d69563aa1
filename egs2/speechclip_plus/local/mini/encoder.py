"""Pre-train the small HuBERT to predict masked discovered units, without transcripts."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from local.shared.randomness import random_stream
from local.shared.small_clip import rate_factor
from torch import nn

from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.utils.progress import progress

from .audio import length_batches, load_batch
from .config import EncoderConfig, MiniConfig
from .corpus import draw_corpus
from .encoder_init import initialise_front_end
from .units import UnitCodebook, frame_count, spectra, with_context

_CODEBOOK_UTTERANCES = 400
_IGNORED = -100


def build_encoder(config: EncoderConfig) -> nn.Module:
    """Return a HubertModel with frames of 20 ms, whose front end starts as a filter bank."""
    from transformers import HubertConfig, HubertModel

    settings = HubertConfig(
        hidden_size=config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        intermediate_size=4 * config.hidden_size,
        conv_dim=(160, 128, 128),
        conv_kernel=(160, 4, 4),
        conv_stride=(80, 2, 2),
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=31,
        num_conv_pos_embedding_groups=8,
        hidden_dropout=0.0,
        activation_dropout=0.0,
        attention_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        vocab_size=32,
    )
    model = HubertModel(settings)
    initialise_front_end(model)
    return model


def draw_mask(
    rng: np.random.Generator, lengths: torch.Tensor, *, start: float, span: int
) -> torch.Tensor:
    """Return which frames to mask, (batch, frames) bool, at least one span per utterance.

    Args:
        rng: Source of randomness.
        lengths: Number of frames of each utterance, (batch,).
        start: Probability that a span starts at a frame.
        span: Number of frames of a span.
    """
    mask = np.zeros((len(lengths), int(lengths.max())), dtype=bool)
    for row, length in zip(mask, lengths.tolist(), strict=True):
        starts = np.flatnonzero(rng.random(length) < start)
        if not starts.size:
            starts = rng.integers(max(length - span, 1), size=1)
        for begin in starts:
            row[begin : min(begin + span, length)] = True
    return torch.from_numpy(mask)


def masked_prediction_loss(
    logits: torch.Tensor, units: torch.Tensor, mask: torch.Tensor, *, unmasked_weight: float
) -> torch.Tensor:
    """Cross-entropy on masked frames plus, weighted, on the visible ones.

    Args:
        logits: Logits of the units, (batch, frames, units).
        units: Targets, (batch, frames), −100 at padded frames.
        mask: True at masked frames, (batch, frames).
        unmasked_weight: Weight of the visible frames' mean.
    """
    losses = F.cross_entropy(logits.transpose(1, 2), units, ignore_index=_IGNORED, reduction="none")
    valid = units != _IGNORED
    masked, visible = mask & valid, ~mask & valid
    loss = losses[masked].mean()
    if unmasked_weight and visible.any():
        loss = loss + unmasked_weight * losses[visible].mean()
    return loss


def train_encoder(config: MiniConfig, root: Path) -> nn.Module:
    """Pre-train a small HuBERT without transcripts, and save it.

    Args:
        config: Sizes of the model and of its training, and the seed of everything that is drawn.
        root: Directory of the corpus. ``wavs`` in it holds the training split's recordings at
            16 kHz, ``hubert`` gets the model.

    Returns:
        The model in evaluation mode.
    """
    from transformers import Wav2Vec2FeatureExtractor

    encoder, seed, wavs = config.encoder, config.seed, root / "wavs"
    ids = [caption.utterance_id for caption in draw_corpus(config)[1]["train"]]
    torch.manual_seed(seed)
    rng = random_stream(seed, "encoder")
    sample = [ids[index] for index in rng.permutation(len(ids))[:_CODEBOOK_UTTERANCES]]
    chunks = [load_batch(wavs, sample[k : k + 25]) for k in range(0, len(sample), 25)]
    model = build_encoder(encoder)
    targets = UnitTargets(chunks, encoder.units, seed=seed)
    heads = nn.ModuleList(
        nn.Linear(encoder.hidden_size, len(codebook.centres)) for codebook in targets.codebooks
    )
    optimizer = _optimizer(model, heads, encoder)
    factor = partial(rate_factor, steps=encoder.steps, warmup_steps=encoder.warmup_steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    sizes = {i: (wavs / f"{i}.wav").stat().st_size for i in ids}
    batches = length_batches(sizes, encoder.batch_size, rng)
    model.train()
    for step in progress(range(encoder.steps), description="small HuBERT", unit="update"):
        batch = load_batch(wavs, next(batches))
        lengths = frame_count(batch.lengths)
        mask = draw_mask(rng, lengths, start=encoder.mask_start, span=encoder.mask_span)
        samples = torch.arange(batch.waveforms.shape[1]) < batch.lengths[:, None]  # without padding
        hidden = model(
            batch.waveforms, attention_mask=samples.long(), mask_time_indices=mask
        ).last_hidden_state  # (batch, samples) → (batch, frames, hidden)
        loss = hidden.new_zeros(())
        for head, units in zip(heads, targets(batch), strict=True):
            loss = loss + masked_prediction_loss(
                head(hidden), units, mask, unmasked_weight=encoder.unmasked_weight
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            logging.info(f"update {step + 1}: loss {loss.item():.3f}")
    model.eval()
    model.save_pretrained(root / "hubert")
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(root / "hubert")
    return model


def _optimizer(model: nn.Module, heads: nn.Module, config: EncoderConfig) -> torch.optim.Optimizer:
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2]},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        {"params": list(heads.parameters())},
    ]
    return torch.optim.AdamW(
        groups, lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
    )


class UnitTargets:
    """Padded targets of a batch under two codebooks of spectra.

    One is of single frames (sounds), the other of 260 ms around them (word parts).
    """

    def __init__(self, chunks: list[SpeechBatch], units: int, *, seed: int) -> None:
        views = [_spectral_views(chunk) for chunk in chunks]
        self.codebooks = []
        for number in range(len(views[0])):
            rows = torch.cat([frames for view in views for frames in view[number]])
            self.codebooks.append(UnitCodebook(rows, units, seed=seed))

    def __call__(self, batch: SpeechBatch) -> list[torch.Tensor]:
        """Return (batch, frames) units per codebook, −100 at padded frames."""
        result = []
        for codebook, frames in zip(self.codebooks, _spectral_views(batch), strict=True):
            units = [codebook.assign(f) for f in frames]
            result.append(nn.utils.rnn.pad_sequence(units, True, _IGNORED))
        return result


def _spectral_views(batch: SpeechBatch) -> list[list[torch.Tensor]]:
    frames = spectra(batch.waveforms, batch.lengths)
    coarse = [f.unflatten(1, (4, -1)).mean(1) for f in frames]
    return [frames, [with_context(f, 3, step=2) for f in coarse]]
