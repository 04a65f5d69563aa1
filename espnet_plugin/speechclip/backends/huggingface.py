"""HuBERT, wav2vec 2.0 and WavLM of the transformers library, without any leak of padding.

The library's models see an utterance's padding in two places. Base models' first convolution is
followed by a group norm over time, and the masks of padded frames are optional. Here utterances
of different lengths are convolved one by one. Padded frames are zero before the position
convolution and masked in every attention. So an utterance has the same hidden states alone and
in any batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from espnet_plugin.speechclip.backends import StateCollector
from espnet_plugin.speechclip.backends.huggingface_loading import (
    load_encoder,
    wants_normalized_waveforms,
)
from espnet_plugin.speechclip.padding import padding_mask

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


class HuggingFaceBackend(nn.Module):
    """A speech encoder of the transformers library (HuBERT, wav2vec 2.0, WavLM, UniSpeech).

    Hidden states: [0] is the input of the first transformer layer (after the position
    convolution and, in post-norm models, its layer norm), [l] the output of layer l. For models
    with ``do_stable_layer_norm`` (the large ones) the last one is taken before the encoder's
    final layer norm, whatever the installed library version returns.

    Args:
        model: Hub name, or a local directory in the form of ``save_pretrained``.
        cache_dir: Folder of downloaded models; None: the library's default.
        random_weights: Take the model's ``config.json`` only and random weights (dry runs).
        dropout: Probability in training mode of the dropouts before and in the layers and of their
            attention weights, with none after activations: the four of fairseq's HuBERT base.
            None: as ``config.json`` says.

    Raises:
        FileNotFoundError: If the model is neither a local directory, nor cached, nor reachable.
        ValueError: If it is another kind of model.
    """

    sampling_rate = 16000
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
        self.model = load_encoder(
            model, cache_dir=cache_dir, random_weights=random_weights, dropout=dropout
        )
        config = self.model.config
        self._name, self._cache_dir = model, cache_dir
        self.kernels = tuple(config.conv_kernel)
        self.strides = tuple(config.conv_stride)
        self.min_samples = receptive_field(self.kernels, self.strides)
        self.stride = math.prod(self.strides)
        self.dim = int(config.hidden_size)
        self.num_layers = int(config.num_hidden_layers) + 1

    def train(self, mode: bool = True) -> HuggingFaceBackend:
        """Training mode reaches all modules but the convolutions, which would ask for gradients."""
        super().train(mode)
        self.model.feature_extractor.eval()
        return self

    def wants_normalized_waveforms(self) -> bool:
        """What the model's ``preprocessor_config.json`` says."""
        config = self.model.config
        return wants_normalized_waveforms(self._name, config, cache_dir=self._cache_dir)

    def frame_lengths(self, sample_lengths: Tensor) -> Tensor:
        """floor((samples - 400) / 320) + 1 for the usual convolutions, (batch,)."""
        samples = sample_lengths.clamp(min=self.min_samples)
        return conv_output_lengths(samples, self.kernels, self.strides)

    def forward(self, speech: Tensor, sample_lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """As ``SpeechBackend`` says."""
        features = self._convolve(speech, ends)  # (batch, frames, channels)
        hidden = self.model.feature_projection(features)  # (batch, frames, dim)
        if isinstance(hidden, tuple):  # wav2vec 2.0 and WavLM return the normed input, too
            hidden = hidden[0]
        del features
        frames = [conv_output_lengths(end, self.kernels, self.strides) for end in ends]
        return self._encode(hidden, self.frame_lengths(sample_lengths), frames)

    def _convolve(self, speech: Tensor, ends: Sequence[int]) -> Tensor:
        """Convolutional front end, (batch, samples) to (batch, frames, channels), 0 at padding.

        Utterances of different lengths are convolved one by one: the group norm of base models
        sees no padding then, none is computed, and the wide early layers need less memory.
        """
        extractor = self.model.feature_extractor
        if len(set(ends)) == 1:
            return extractor(speech).transpose(1, 2)
        rows = [extractor(speech[row : row + 1, :end])[0].T for row, end in enumerate(ends)]
        return pad_sequence(rows, batch_first=True)  # rows are (own frames, channels)

    def _encode(self, hidden: Tensor, lengths: Tensor, ends: Sequence[int]) -> Tensor:
        """Transformer, (batch, frames, dim) to all states (batch, layers + 1, frames, dim)."""
        mask = None
        if min(ends) < hidden.shape[1]:
            padding = padding_mask(lengths, hidden.shape[1])
            hidden = hidden.masked_fill(padding.unsqueeze(-1), 0.0)
            mask = self._attention_mask(padding, hidden.dtype)
        states = StateCollector(self.num_layers)

        def mask_padding(
            _module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return inputs, {**options, "attention_mask": mask}

        def add_input(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            states.add(inputs[0])

        def add_output(_module: nn.Module, _inputs: Any, output: Any) -> None:
            states.add(output[0] if isinstance(output, tuple) else output)

        # Hooks live for this call only: modules that keep some can be neither copied nor pickled.
        layers = self.model.encoder.layers
        hooks = [layers[0].register_forward_pre_hook(add_input)]
        hooks += [layer.register_forward_hook(add_output) for layer in layers]
        # The encoder itself would read a mask on the host, and index with it.
        hooks += [
            layer.register_forward_pre_hook(mask_padding, with_kwargs=True) for layer in layers
        ]
        try:
            self.model.encoder(hidden)
        finally:
            for hook in hooks:
                hook.remove()
        return states.stack(ends)

    def _attention_mask(self, padding: Tensor, dtype: torch.dtype) -> Tensor:
        """The mask as this kind of model's layers take it.

        Args:
            padding: True at padding, (batch, frames).
            dtype: Of the attention's scores.
        """
        if self.model.config.model_type == "wavlm":
            return ~padding  # (batch, frames)
        batch, frames = padding.shape
        scores = torch.zeros(batch, 1, 1, frames, dtype=dtype, device=padding.device)
        scores = scores.masked_fill(padding[:, None, None], -torch.inf)
        return scores.expand(batch, 1, frames, frames)
