"""The frozen speech encoder and the learned weights over its hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.teachers.backends import SpeechBackend
from espnet_plugin.teachers.backends.waveform import (
    checked_ends,
    float_samples,
    prepare_waveforms,
)
from espnet_plugin.teachers.quantized_states import dequantize_states
from espnet_plugin.teachers.trained_parts import add_lora, last_layers
from espnet_plugin.utils.options import check_options, options_of
from espnet_plugin.utils.padding import PART_VALUES, split_by_length

FRAME_LENGTH_RULES = ("exact", "rounded")
# Parts of a batch of stored states of shape (batch, frames, ...).
WITH_FRAMES = frozenset(("speech_states", "speech_states_scale"))


@dataclass(frozen=True)
class SpeechStates:
    """Hidden states of a padded batch of utterances.

    Attributes:
        hidden_states: (batch, layers + 1, frames, dim), 0 at padded frames.
        lengths: (batch,) exact number of frames of each utterance.
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
        normalize_waveform: Zero mean and unit variance of each utterance's samples (biased
            variance, eps 1e-5) before the encoder; None: as in the model's own configuration.
        frame_length_rule: ``"exact"``, the frames that an utterance has alone; or ``"rounded"``,
            samples over stride, at most the batch's frames, as the original SpeechCLIP counts
            (see ``compatibility.rounded_frame_lengths``). Both agree for a lone utterance.
        dropout_in_training: Use the encoder's dropouts in training mode, as in the original
            SpeechCLIP(+). No layer is dropped and no frame masked.
        train_layers: Train so many of the last transformer layers, with their dropouts.
        lora: Train LoRA's matrices in all layers: options of ``trained_parts.add_lora``.

    Attributes:
        trained_names: Names of the trained parameters, which are saved with the model.
        num_layers: Number of hidden states: the input of the first layer and each layer's output.
        dim: Dimension of the hidden states.
        stride: Samples per frame.
        sampling_rate: Samples per second of the speech that it takes.
        min_samples: Samples of the shortest utterance that is not padded with zeros.
        normalize_waveform: Whether waveforms are normalised, defaults resolved.

    Raises:
        ImportError: For ``lora`` without peft.
        ValueError: For an unknown ``frame_length_rule``, or parts that cannot be trained.
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
        """As ``forward``, with all gradients, for fine-tuning."""
        ends = checked_ends(speech, speech_lengths)
        return self._encode(speech, speech_lengths, ends, normalized=normalized)

    def _encode(
        self, speech: Tensor, speech_lengths: Tensor, ends: Sequence[int], *, normalized: bool
    ) -> SpeechStates:
        waveforms, sample_lengths = prepare_waveforms(
            float_samples(speech[:, : max(ends)]),
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
            speech: (batch, samples) in [-1, 1], or integers as in recordings; samples after an
                utterance's end are ignored.
            speech_lengths: (batch,) numbers of samples, each at least 1. An utterance shorter
                than one frame is padded with zeros to one frame.
            normalized: The waveforms are already normalised, whatever ``normalize_waveform`` is.

        Raises:
            TypeError: If the samples are of another type, see ``float_samples``.
            ValueError: If shapes or lengths do not fit.
        """
        with self._gradients():
            return self.encode(speech, speech_lengths, normalized=normalized)

    def in_parts(
        self, speech: Tensor, speech_lengths: Tensor, *, normalized: bool = False
    ) -> tuple[list[SpeechStates], Tensor | None]:
        """As ``forward``, a large batch in parts of similar length, in half precision.

        Returns:
            The parts, and the rows in their order, (batch,); None: the order is unchanged.
        """
        ends = checked_ends(speech, speech_lengths)
        limit = PART_VALUES // self.dim * self.stride
        order, parts = split_by_length(speech_lengths, ends, limit=limit)
        if order is None:
            with self._gradients():
                return [self._encode(speech, speech_lengths, ends, normalized=normalized)], None
        states = []
        for rows, own in zip(order.split([len(part) for part in parts]), parts, strict=True):
            part = speech[:, : own[0]].index_select(0, rows)
            with self._gradients():
                encoded = self._encode(part, speech_lengths[rows], own, normalized=normalized)
            states.append(_in_half(encoded))
        return states, order


def batch_states(
    speech_encoder: FrozenSpeechEncoder | None,
    *,
    speech: Tensor | None = None,
    speech_lengths: Tensor | None = None,
    speech_states: Tensor | None = None,
    speech_states_lengths: Tensor | None = None,
    speech_states_scale: Tensor | None = None,
    speech_states_dimensions: Tensor | None = None,
    normalized: bool = False,
    **_: Tensor,
) -> SpeechStates:
    """Hidden states of a batch, as they were stored or from the frozen encoder.

    Args:
        speech_encoder: Needed for waveforms only.
        speech: (batch, samples).
        speech_lengths: Samples, (batch,).
        speech_states: Floating point, or codes, (batch, frames, layers + 1, dim).
        speech_states_lengths: Frames, (batch,).
        speech_states_scale: Of codes, (batch, frames, layers + 1).
        speech_states_dimensions: Of codes, (batch, 2, layers + 1, dim).
        normalized: The waveforms are already normalised.
        **_: Other entries of a batch.

    Raises:
        ValueError: If the batch holds neither, or the encoder is missing.
    """
    if speech_states is not None and speech_states_lengths is not None:
        if speech_states_scale is not None and speech_states_dimensions is not None:
            hidden_states = dequantize_states(
                speech_states, speech_states_scale, speech_states_dimensions, speech_states_lengths
            )
            return SpeechStates(hidden_states, speech_states_lengths)
        hidden_states = speech_states.transpose(1, 2)  # (batch, layers + 1, frames, dim)
        return SpeechStates(hidden_states, speech_states_lengths)
    if speech is None or speech_lengths is None:
        raise ValueError("A batch needs either speech or speech_states, with their lengths.")
    if speech_encoder is None:
        raise ValueError("The model was built without its speech encoder; give speech_states.")
    return speech_encoder(speech, speech_lengths, normalized=normalized)


def states_in_parts(
    speech_encoder: FrozenSpeechEncoder | None, *, normalized: bool = False, **given: Tensor | None
) -> tuple[list[SpeechStates], Tensor | None]:
    """As :func:`batch_states`, a large batch in parts of similar length, in half precision.

    Args:
        speech_encoder: Needed for waveforms only.
        normalized: The waveforms are already normalised.
        **given: Arguments of :func:`batch_states`.

    Returns:
        The parts, and the rows in their order, (batch,); None: the order is unchanged.
    """
    batch = {name: value for name, value in given.items() if value is not None}
    stored, lengths = batch.get("speech_states"), batch.get("speech_states_lengths")
    if stored is not None and lengths is not None:
        limit = PART_VALUES // stored.size(-1)
        order, parts = split_by_length(lengths, lengths.tolist(), limit=limit)
        if order is not None:
            groups = zip(order.split([len(part) for part in parts]), parts, strict=True)
            return [
                _in_half(batch_states(None, **_rows(batch, rows, own[0]))) for rows, own in groups
            ], order
    elif "speech" in batch and "speech_lengths" in batch and speech_encoder is not None:
        return speech_encoder.in_parts(**batch, normalized=normalized)
    return [batch_states(speech_encoder, **batch, normalized=normalized)], None


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


def _rows(batch: dict[str, Tensor], rows: Tensor, longest: int) -> dict[str, Any]:
    """Some utterances of a batch of stored states, cut at their longest."""
    cut = {
        name: value[:, :longest] if name in WITH_FRAMES else value for name, value in batch.items()
    }
    return {name: value.index_select(0, rows) for name, value in cut.items()}


def rounded_frame_lengths(sample_lengths: Tensor, frames: int, *, stride: int) -> Tensor:
    """Frame lengths as the original counts them: samples over stride, rounded half to even.

    They are at most the batch's frames. Equal to the exact lengths for an utterance alone; in a
    batch, mostly one frame too many.

    Args:
        sample_lengths: Number of samples, (batch,).
        frames: Frames of the padded batch.
        stride: Samples per frame.
    """
    return (sample_lengths.double() / stride).round().long().clamp(max=frames)
