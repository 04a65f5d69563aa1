"""The frozen speech encoder and the learned weights over its hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.teachers.backends import SpeechBackend
from espnet_plugin.teachers.quantized_states import dequantize_states
from espnet_plugin.teachers.speech_batch import SpeechBatch
from espnet_plugin.teachers.trained_parts import add_lora, last_layers
from espnet_plugin.teachers.waveforms import (
    checked_ends,
    prepare_waveforms,
)
from espnet_plugin.utils.compatibility import FRAME_LENGTH_RULES, rounded_frame_lengths
from espnet_plugin.utils.options import check_options, options_of
from espnet_plugin.utils.padding import PART_VALUES, split_by_length


@dataclass(frozen=True)
class SpeechStates:
    """Hidden states of a padded batch of utterances.

    Attributes:
        hidden_states: Each layer's states, (batch, layers + 1, frames, dim), 0 at padded frames.
        lengths: Exact number of frames of each utterance, (batch,).
    """

    hidden_states: Tensor
    lengths: Tensor


class FrozenSpeechEncoder(nn.Module):
    """A pretrained speech encoder, frozen but for the parts that options name.

    What is frozen has no gradients, and stays in evaluation mode unless ``dropout_in_training`` is
    on. In evaluation mode an utterance has the same states alone and in any batch, whatever its
    padding holds.

    Args:
        backend: The encoder, see :mod:`espnet_plugin.teachers.backends`.
        normalize_waveform: Whether each utterance's samples get zero mean and unit variance
            (biased, eps 1e-5) before the encoder. By default the model's configuration decides.
        frame_length_rule: ``"exact"``, the frames that an utterance has alone; or ``"rounded"``,
            samples over stride, at most the batch's frames, as the original SpeechCLIP counts, see
            :func:`espnet_plugin.utils.compatibility.rounded_frame_lengths`. Both agree for a lone
            utterance.
        dropout_in_training: Whether the encoder's dropouts work in training mode, as in the
            original SpeechCLIP(+). No layer is dropped and no frame masked.
        train_layers: Number of the last transformer layers that are trained, with their dropouts.
        lora: Options of ``trained_parts.add_lora``, if LoRA's matrices are trained in all layers.

    Attributes:
        trained_names: Names of the trained parameters, which are saved with the model.
        num_layers: Number of hidden states: the input of the first layer and each layer's output.
        dim: Dimension of the hidden states.
        stride: Number of samples per frame.
        sampling_rate: Samples per second of the speech that it takes.
        min_samples: Number of samples of the shortest utterance that is not padded with zeros.
        normalize_waveform: Whether waveforms are normalised, as the default was resolved.

    Raises:
        ImportError: If ``lora`` is given and peft is not installed.
        ValueError: If ``frame_length_rule`` is unknown, or the parts cannot be trained.
    """

    def __init__(
        self,
        backend: SpeechBackend,
        *,
        normalize_waveform: bool | None = None,
        frame_length_rule: str = "exact",
        dropout_in_training: bool = False,
        train_layers: int = 0,
        lora: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if frame_length_rule not in FRAME_LENGTH_RULES:
            raise ValueError(
                f"speech_encoder_conf.frame_length_rule: {frame_length_rule!r} is none of "
                f"{', '.join(FRAME_LENGTH_RULES)}"
            )
        self.frame_length_rule = frame_length_rule
        self.dropout_in_training = dropout_in_training
        self.backend = backend
        self.num_layers, self.dim = backend.num_layers, backend.dim
        self.stride, self.sampling_rate = backend.stride, backend.sampling_rate
        self.min_samples = backend.min_samples
        if normalize_waveform is None:
            normalize_waveform = backend.wants_normalized_waveforms()
        self.normalize_waveform = normalize_waveform
        self.requires_grad_(False)
        if lora not in (None, False) and not (isinstance(lora, Mapping) and lora):
            raise ValueError(f"speech_encoder_conf.lora: {lora!r} holds no options; give {{r: 8}}")
        check_options("speech_encoder_conf.lora", lora or {}, options_of(add_lora))
        self._trained = add_lora(backend, **lora) if lora else []
        self._trained += last_layers(backend, train_layers) if train_layers else []
        self.trained_names = [name for name, p in self.named_parameters() if p.requires_grad]
        self.eval()

    def train(self, mode: bool = True) -> FrozenSpeechEncoder:
        """What is frozen stays in evaluation mode unless ``dropout_in_training`` is on."""
        super().train(mode and self.dropout_in_training)
        for module in self._trained:
            module.train(mode)
        return self

    def _gradients(self) -> torch.set_grad_enabled:
        """A context with gradients for the trained parts, if there are any."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and bool(self.trained_names))

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """Exact number of frames (batch,) of utterances of ``sample_lengths`` (batch,) samples."""
        return self.backend.frame_lengths(sample_lengths)

    def encode(
        self, speech: Tensor, speech_lengths: Tensor, *, normalized: bool = False
    ) -> SpeechStates:
        """Does what ``forward`` does, with all gradients, for fine-tuning."""
        ends = checked_ends(speech, speech_lengths)
        return self._encode(speech, speech_lengths, ends, normalized=normalized)

    def _encode(
        self, speech: Tensor, speech_lengths: Tensor, ends: Sequence[int], *, normalized: bool
    ) -> SpeechStates:
        waveforms, sample_lengths = prepare_waveforms(
            speech[:, : max(ends)],
            speech_lengths,
            normalize=self.normalize_waveform and not normalized,
            min_samples=self.min_samples,
        )
        ends = [max(end, self.min_samples) for end in ends]
        hidden_states = self.backend(waveforms, sample_lengths, ends)
        lengths = self.frame_lengths(sample_lengths)
        if self.frame_length_rule == "rounded":
            frames = hidden_states.shape[2]
            rounded = rounded_frame_lengths(speech_lengths, frames, stride=self.stride)
            lengths = torch.maximum(lengths, rounded)
        return SpeechStates(hidden_states, lengths)

    def forward(
        self, speech: Tensor, speech_lengths: Tensor, *, normalized: bool = False
    ) -> SpeechStates:
        """Encodes a batch of utterances.

        Args:
            speech: Floating-point samples in [-1, 1], (batch, samples); padding is ignored.
            speech_lengths: Number of samples, (batch,), each at least 1. An utterance shorter
                than one frame is padded with zeros to one frame.
            normalized: Whether the waveforms are already normalised; they stay as they are then.

        Raises:
            TypeError: If the samples are integers.
            ValueError: If shapes or lengths do not fit.
        """
        with self._gradients():
            return self.encode(speech, speech_lengths, normalized=normalized)

    def hidden_states(self, batch: SpeechBatch) -> SpeechStates:
        """Hidden states of a batch: as they were stored, or as ``forward`` gives them."""
        if batch.waveforms is not None:
            return self(batch.waveforms, batch.lengths, normalized=batch.normalized)
        assert batch.states is not None
        if batch.scale is not None and batch.dimensions is not None:
            states = dequantize_states(batch.states, batch.scale, batch.dimensions, batch.lengths)
            return SpeechStates(states, batch.lengths)
        return SpeechStates(batch.states.transpose(1, 2), batch.lengths)

    def in_parts(self, batch: SpeechBatch) -> tuple[list[SpeechStates], Tensor | None]:
        """Hidden states of a batch; a large one comes in half precision in parts of similar length.

        Returns:
            The parts, and the rows in their order, (batch,), or None if the order is unchanged.
        """
        if batch.waveforms is not None:
            ends = checked_ends(batch.waveforms, batch.lengths)
            limit = PART_VALUES // self.dim * self.stride
        else:
            assert batch.states is not None
            ends, limit = batch.lengths.tolist(), PART_VALUES // batch.states.size(-1)
        order, parts = split_by_length(batch.lengths, ends, limit=limit)
        if order is None:
            return [self._part(batch, ends)], None
        groups = zip(order.split([len(part) for part in parts]), parts, strict=True)
        return [_in_half(self._part(batch.rows(rows, own[0]), own)) for rows, own in groups], order

    def _part(self, batch: SpeechBatch, ends: Sequence[int]) -> SpeechStates:
        """:meth:`hidden_states` of utterances whose ends the host knows: it does not wait."""
        if batch.waveforms is None:
            return self.hidden_states(batch)
        with self._gradients():
            waveforms, lengths = batch.waveforms, batch.lengths
            return self._encode(waveforms, lengths, ends, normalized=batch.normalized)


def to_half(states: Tensor) -> Tensor:
    """Hidden states in float16; those beyond its range become its largest."""
    limit = torch.finfo(torch.float16).max
    return states.half().clamp_(-limit, limit)


def _in_half(states: SpeechStates) -> SpeechStates:
    """A part in half precision, as stored states are: it waits for the others in memory.

    Not with gradients, which would be in half precision too, and vanish.
    """
    if states.hidden_states.dtype != torch.float32 or states.hidden_states.requires_grad:
        return states
    return replace(states, hidden_states=to_half(states.hidden_states))
