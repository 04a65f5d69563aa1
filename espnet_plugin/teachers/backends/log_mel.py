"""Whisper and w2v-BERT 2.0 of the transformers library, which take log-mel spectra.

The features are those of the library's own extractors, which work on the host and utterance by
utterance. Here a batch is computed on its device.

Both read at most 30 s at a time: Whisper has no positions beyond, and w2v-BERT's memory grows with
the square of the length, by 0.6 GB for 30 s. Longer recordings are read in windows, whose frames do
not see each other. As in the huggingface source, padding is masked in every attention, so an
utterance has the same hidden states alone and in any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espnet_plugin.teachers.backends.huggingface import TransformersBackend
from espnet_plugin.utils.padding import padding_mask

FRAME, HOP = 400, 160  # samples: 25 and 10 ms


def whisper_features(speech: Tensor, filters: Tensor) -> Tensor:
    """Log-mel spectra as Whisper's extractor computes them.

    Args:
        speech: Waveforms, (batch, samples), with at least ``FRAME // 2`` zeros at the end.
        filters: Mel filters, (FRAME // 2 + 1, mels).

    Returns:
        (batch, samples // HOP, mels), float32.
    """
    with torch.autocast(speech.device.type, enabled=False):
        window = torch.hann_window(FRAME, device=speech.device)
        spectra = torch.stft(speech.float(), FRAME, HOP, window=window, return_complex=True)
        power = spectra[..., : speech.shape[1] // HOP].abs().square().transpose(1, 2)
        log_mel = (power @ filters).clamp(min=1e-10).log10()
        loudest = log_mel.amax(dim=(1, 2), keepdim=True)  # (batch, 1, 1)
        return (torch.maximum(log_mel, loudest - 8) + 4) / 4


def kaldi_features(
    speech: Tensor, frame_lengths: Tensor, filters: Tensor, window: Tensor
) -> Tensor:
    """Log-mel spectra as SeamlessM4T's extractor computes them, which follows Kaldi's.

    Each mel has zero mean and unit variance over an utterance's own frames.

    Args:
        speech: Waveforms, (batch, samples).
        frame_lengths: Number of frames of each utterance, (batch,), each at least 2.
        filters: Mel filters, (257, mels).
        window: Window by which each frame is multiplied, (FRAME,).

    Returns:
        (batch, frames, mels), float32; anything after an utterance's frames.
    """
    with torch.autocast(speech.device.type, enabled=False):
        frames = (2**15 * speech.float()).unfold(1, FRAME, HOP)  # (batch, frames, FRAME)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        spectra = torch.fft.rfft((frames - 0.97 * before) * window, n=512)
        log_mel = (spectra.abs().square() @ filters).clamp(min=2**-23).log()
        padding = padding_mask(frame_lengths, log_mel.shape[1]).unsqueeze(-1)
        count = frame_lengths[:, None, None]
        mean = log_mel.masked_fill(padding, 0).sum(dim=1, keepdim=True) / count
        centred = log_mel - mean
        squares = centred.square().masked_fill(padding, 0).sum(dim=1, keepdim=True)
        return centred * torch.rsqrt(squares / (count - 1) + 1e-7)


class WhisperBackend(TransformersBackend):
    """Whisper's encoder (arXiv 2212.04356): frames of 20 ms, ceil(samples / 320) of them.

    It was trained on windows of 30 s, in which silence follows the speech. Here an utterance is
    read at its own length. That is many times faster, because most utterances are short.

    Args:
        model, cache_dir, random_weights, dropout: See
            :class:`~espnet_plugin.teachers.backends.huggingface.TransformersBackend`.
        context: Number of seconds that an utterance is read with at least: silence fills them, and
            its frames see that. 30 gives the states of transformers, at the cost of 30 s for each
            utterance.

    Raises:
        ValueError: If ``context`` is not between 0 and Whisper's 30 s.
    """

    word = "whisper"
    lora_modules = ("q_proj", "v_proj")
    filters: Tensor

    def __init__(
        self,
        *,
        model: str,
        cache_dir: str | Path | None = None,
        random_weights: bool = False,
        dropout: float | None = None,
        context: float = 0.0,
    ) -> None:
        super().__init__(
            model=model, cache_dir=cache_dir, random_weights=random_weights, dropout=dropout
        )
        longest = self.window * self.stride / self.sampling_rate
        if not 0 <= context <= longest:
            raise ValueError(
                f"speech_encoder_conf.context is {context}; expected seconds from 0 to {longest:g}"
            )
        self.context = round(context * self.sampling_rate / self.stride)  # frames

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's layers."""
        return self.model.layers

    def _prepare(self, config: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        from transformers import WhisperFeatureExtractor

        extractor = WhisperFeatureExtractor(feature_size=config.num_mel_bins)
        filters = torch.from_numpy(extractor.mel_filters).float()
        self.register_buffer("filters", filters, persistent=False)
        self.window = config.max_source_positions
        return (1,), (2 * HOP,)

    def _features(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        frames = -(-max(ends) // self.stride)
        last_window = (frames - 1) // self.window * self.window
        frames = max(frames, last_window + self.context)
        # zeros behind the last frame: the extractor would mirror the utterance there
        missing = max(0, frames * self.stride + FRAME - speech.shape[1])
        features = whisper_features(F.pad(speech, (0, missing)), self.filters)
        pairs = features[:, : 2 * frames].unflatten(1, (-1, 2)).flatten(2)
        return pairs.to(speech.dtype)  # (batch, frames, 2 * mels)

    def _encode(self, features: Tensor, lengths: Tensor, ends: Sequence[int]) -> Tensor:
        seen = [max(end, self.context) for end in ends]
        states = super()._encode(
            features[:, : max(seen)], lengths.clamp(min=self.context), seen
        )  # (batch, layers + 1, frames, dim)
        if seen == list(ends):
            return states
        padding = padding_mask(lengths, max(ends))
        return states[:, :, : max(ends)].masked_fill(padding[:, None, :, None], 0.0)

    def _run(self, inputs: Tensor, masks: dict[str, Any], add: Callable[[Tensor], None]) -> None:
        # the library's own pass takes 30 s only, and no mask
        encoder = self.model
        spectra = inputs.unflatten(2, (2, -1)).flatten(1, 2).transpose(1, 2)
        hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(spectra)))).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        hidden = F.dropout(hidden, encoder.dropout, self.training)
        add(hidden)
        for layer in self.layers:
            hidden = layer(hidden, **masks)
            add(hidden)


class Wav2Vec2BertBackend(TransformersBackend):
    """w2v-BERT 2.0 (arXiv 2312.05187): a frame is two spectra of 10 ms; an incomplete one is cut.

    Its frames are floor((samples - 240) / 320).
    """

    word = "w2v_bert"
    lora_modules = ("linear_q", "linear_v")
    window = 1500
    filters: Tensor
    povey: Tensor

    def _prepare(self, config: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        from transformers import SeamlessM4TFeatureExtractor

        mels = config.feature_projection_input_dim // 2
        extractor = SeamlessM4TFeatureExtractor(feature_size=mels, num_mel_bins=mels)
        filters, povey = map(torch.from_numpy, (extractor.mel_filters, extractor.window))
        self.register_buffer("filters", filters.float(), persistent=False)
        self.register_buffer("povey", povey.float(), persistent=False)
        return (FRAME + HOP,), (2 * HOP,)

    def _features(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        spectra = (sample_lengths - FRAME) // HOP + 1
        features = kaldi_features(speech, spectra, self.filters, self.povey)
        frames = features[:, : features.shape[1] // 2 * 2].unflatten(1, (-1, 2)).flatten(2)
        return self.model.feature_projection(frames.to(speech.dtype))[0]  # (batch, frames, dim)

    def _masks(self, padding: Tensor, dtype: torch.dtype) -> dict[str, Any]:
        return {**super()._masks(padding, dtype), "conv_attention_mask": ~padding}
