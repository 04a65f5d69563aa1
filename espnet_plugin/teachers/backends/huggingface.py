"""HuBERT, wav2vec 2.0 and WavLM of the transformers library, without any leak of padding.

The library's models see an utterance's padding in two places. Base models' first convolution is
followed by a group norm over time, and the masks of padded frames are optional. Here utterances
of different lengths are convolved one by one. Padded frames are zero before the position
convolution and masked in every attention. So an utterance has the same hidden states alone and
in any batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.teachers.backends import StateCollector
from espnet_plugin.teachers.backends.huggingface_loading import (
    load_encoder,
    wants_normalized_waveforms,
)
from espnet_plugin.utils.constants import SAMPLING_RATE
from espnet_plugin.utils.padding import padding_mask

Lengths = TypeVar("Lengths", Tensor, int)


def conv_output_lengths(
    lengths: Lengths, kernels: tuple[int, ...], strides: tuple[int, ...]
) -> Lengths:
    """Frames that a stack of unpadded convolutions makes of ``lengths`` samples, of any shape."""
    for kernel, stride in zip(kernels, strides, strict=True):
        lengths = (lengths - kernel) // stride + 1
    return lengths


def receptive_field(kernels: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Samples that one frame of a stack of unpadded convolutions sees."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


class TransformersBackend(nn.Module):
    """What the encoders of the transformers library share; a subclass makes the layers' input.

    Hidden states: [0] is the input of the first transformer layer (after the position
    convolution and, in post-norm models, its layer norm), [l] the output of layer l. Where norms
    are before the layers (``do_stable_layer_norm``, the large models, and Whisper), the last one
    is taken before the encoder's final layer norm, whatever the installed library version returns.

    Args:
        model: Hub name, or a local directory in the form of ``save_pretrained``.
        cache_dir: Folder of downloaded models, by default the library's.
        random_weights: Whether to read only ``config.json`` and draw random weights (dry runs).
        dropout: Probability in training mode of the dropouts before and in the layers and of their
            attention weights, with none after activations: the four of fairseq's HuBERT base.
            By default ``config.json`` decides.

    Raises:
        FileNotFoundError: If the model is neither a local directory, nor cached, nor reachable.
        ValueError: If it is another kind of model.
    """

    sampling_rate = SAMPLING_RATE
    word = "huggingface"
    window = 2**31  # frames that are read at a time
    model: Any  # transformers'

    def __init__(
        self,
        *,
        model: str,
        cache_dir: str | Path | None = None,
        random_weights: bool = False,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        options: Any = {"random_weights": random_weights, "dropout": dropout}
        self.model = load_encoder(model, word=self.word, cache_dir=cache_dir, **options)
        config = self.model.config
        self._name, self._cache_dir = model, cache_dir
        self.kernels, self.strides = self._prepare(config)
        self.min_samples = receptive_field(self.kernels, self.strides)
        self.stride = math.prod(self.strides)
        self.dim = int(config.hidden_size)
        self.num_layers = int(config.num_hidden_layers) + 1

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer's layers."""
        return self.model.encoder.layers

    def _prepare(self, config: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Kernels and strides of the unpadded convolutions that make frames of samples."""
        raise NotImplementedError

    def _features(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """What the transformer reads of waveforms, (batch, frames, ...)."""
        raise NotImplementedError

    def wants_normalized_waveforms(self) -> bool:
        """False unless a subclass says otherwise, because spectra are normalised instead."""
        return False

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """Frames of utterances of ``sample_lengths`` samples, (batch,)."""
        samples = sample_lengths.clamp(min=self.min_samples)
        return conv_output_lengths(samples, self.kernels, self.strides)

    def forward(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """Encodes as ``SpeechBackend`` says; frames of different windows do not see each other."""
        features = self._features(speech, sample_lengths, ends)
        lengths = self.frame_lengths(sample_lengths)
        frames = [conv_output_lengths(end, self.kernels, self.strides) for end in ends]
        parts = []
        for start in range(0, max(frames), self.window):
            rows = [row for row, number in enumerate(frames) if number > start]
            own = [min(frames[row] - start, self.window) for row in rows]
            part, left = features[:, start : start + self.window], lengths - start
            if len(rows) == len(frames):
                parts.append(self._encode(part, left, own))
            else:
                index = torch.tensor(rows, device=part.device)
                states = self._encode(part[index], left[index], own)
                everyone = states.new_zeros(len(frames), *states.shape[1:])
                parts.append(everyone.index_copy(0, index, states))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)

    def _encode(self, features: Tensor, lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """Turns features (batch, frames, dim) into all states (batch, layers + 1, frames, dim)."""
        masks: dict[str, Any] = {"attention_mask": None}
        if min(ends) < features.shape[1]:
            padding = padding_mask(lengths, features.shape[1])
            features = features.masked_fill(padding.unsqueeze(-1), 0.0)
            masks = self._masks(padding, features.dtype)
        return self._collect(features, ends, masks)

    def _collect(self, inputs: Tensor, ends: Sequence[int], masks: dict[str, Any]) -> Tensor:
        """Runs the encoder on its inputs, with ``masks`` for every layer, and returns all states up
        to the longest end."""
        states = StateCollector(self.num_layers)
        longest = max(ends)
        self._run(inputs, masks, lambda state: states.add(state[:, :longest]))
        return states.stack(ends)

    def _run(self, inputs: Tensor, masks: dict[str, Any], add: Callable[[Tensor], None]) -> None:
        """Gives each hidden state (batch, frames, dim) to ``add``."""

        def mask_padding(
            _module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return inputs, {**options, **masks}

        def add_input(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            add(inputs[0])

        def add_output(_module: nn.Module, _inputs: Any, output: Any) -> None:
            add(output[0] if isinstance(output, tuple) else output)

        # Hooks live for this call only: modules that keep some can be neither copied nor pickled.
        hooks = [self.layers[0].register_forward_pre_hook(add_input)]
        hooks += [layer.register_forward_hook(add_output) for layer in self.layers]
        # The encoder itself would read a mask on the host, and index with it.
        hooks += [
            layer.register_forward_pre_hook(mask_padding, with_kwargs=True) for layer in self.layers
        ]
        try:
            self.model.encoder(inputs)
        finally:
            for hook in hooks:
                hook.remove()

    def _masks(self, padding: Tensor, dtype: torch.dtype) -> dict[str, Any]:
        """The masks as this kind of model's layers take them.

        Args:
            padding: True at padding, (batch, frames).
            dtype: Type of the attention's scores.
        """
        if self.model.config.model_type == "wavlm":
            return {"attention_mask": ~padding}  # (batch, frames)
        batch, frames = padding.shape
        scores = torch.zeros(batch, 1, 1, frames, dtype=dtype, device=padding.device)
        scores = scores.masked_fill(padding[:, None, None], -torch.inf)
        return {"attention_mask": scores.expand(batch, 1, frames, frames)}


class HuggingFaceBackend(TransformersBackend):
    """A speech encoder that takes waveforms (HuBERT, wav2vec 2.0, WavLM, UniSpeech)."""

    @property
    def lora_modules(self) -> tuple[str, ...]:
        """Queries and values; the feed-forward layers of WavLM, whose attention reads the weights
        of its projections past what is added to them."""
        if self.model.config.model_type == "wavlm":
            return ("intermediate_dense", "output_dense")
        return ("q_proj", "v_proj")

    def train(self, mode: bool = True) -> HuggingFaceBackend:
        """Training mode reaches all modules but the convolutions, which would ask for gradients."""
        super().train(mode)
        self.model.feature_extractor.eval()
        return self

    def _prepare(self, config: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(config.conv_kernel), tuple(config.conv_stride)

    def wants_normalized_waveforms(self) -> bool:
        """What the model's ``preprocessor_config.json`` says."""
        config = self.model.config
        return wants_normalized_waveforms(self._name, config, cache_dir=self._cache_dir)

    def _features(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        hidden = self.model.feature_projection(self._convolve(speech, ends))
        # wav2vec 2.0 and WavLM return the normed input, too
        return hidden[0] if isinstance(hidden, tuple) else hidden  # (batch, frames, dim)

    def _convolve(self, speech: Tensor, ends: Sequence[int]) -> Tensor:
        """Convolves (batch, samples) to (batch, frames, channels), 0 at padding.

        Utterances of different lengths are convolved one by one: the group norm of base models
        sees no padding then, none is computed, and the wide early layers need less memory.
        """
        extractor = self.model.feature_extractor
        if len(set(ends)) == 1:
            return extractor(speech).transpose(1, 2)
        rows = [extractor(speech[row : row + 1, :end])[0].T for row, end in enumerate(ends)]
        return pad_sequence(rows, batch_first=True)  # rows are (own frames, channels)
