"""HuBERT in plain PyTorch, from a directory in the form of transformers' ``save_pretrained``.

Importing transformers takes longer than everything else that one spoken query needs: 2.5 times as
long as importing PyTorch. So this module builds a HuBERT that is on the disk. Names of modules and
weights, and every operation, are transformers': outputs are equal bit by bit, dropouts included.
Paper: HuBERT (arXiv 2106.07447).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from espnet_plugin.teachers.weights import check_fit, read_safetensors

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PREFIX = "hubert."  # of the encoder in a model with a head
# How weight norm named its parts before it became a parametrization.
_RENAMED = {
    "conv.weight_g": "conv.parametrizations.weight.original0",
    "conv.weight_v": "conv.parametrizations.weight.original1",
}


@dataclass
class HubertConfig:
    """What ``config.json`` says about the encoder; the defaults are transformers'."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_dropout: float = 0.1
    activation_dropout: float = 0.1
    attention_dropout: float = 0.1
    feat_proj_layer_norm: bool = True
    feat_proj_dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    conv_dim: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    do_stable_layer_norm: bool = False
    model_type: str = "hubert"


# Options of transformers' configuration that change the encoder, at the one value built here.
_ONLY = {
    "model_type": "hubert",
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "conv_pos_batch_norm": False,
    "adapter_attn_dim": None,
    "quantization_config": None,
}


def read_hubert(directory: str | Path, *, dropout: float | None = None) -> Hubert | None:
    """Builds the HuBERT in a directory, in evaluation mode and float32.

    Args:
        directory: With ``config.json`` and ``model.safetensors``.
        dropout: Of :class:`~espnet_plugin.teachers.backends.huggingface.HuggingFaceBackend`.

    Returns:
        The encoder; None if the directory holds something else, which transformers may read.

    Raises:
        ValueError: If the weights are damaged, or are not those of the configuration.
    """
    config_file, weights_file = (Path(directory) / name for name in (CONFIG_FILE, WEIGHTS_FILE))
    if not (config_file.is_file() and weights_file.is_file()):
        return None
    try:
        options = json.loads(config_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return None
    if not _is_plain(options):
        return None
    known = {field.name for field in fields(HubertConfig)}
    config = HubertConfig(**{name: options[name] for name in known & options.keys()})
    if dropout is not None:
        config.feat_proj_dropout = config.hidden_dropout = config.attention_dropout = dropout
        config.activation_dropout = 0.0
    model = Hubert(config)
    expected = model.state_dict()
    weights = _encoder_weights(read_safetensors(weights_file), expected.keys())
    check_fit(weights, expected, f"{directory}: the weights lack what its {CONFIG_FILE} describes")
    model.load_state_dict(weights, assign=True)
    _draw_as_transformers(options, model)
    return model.eval()


def _draw_as_transformers(options: Mapping[str, Any], model: Hubert) -> None:
    """Draws the random numbers that transformers draws before it reads the weights.

    So with the same seed, training starts from the same weights with either encoder.
    """
    if options.get("mask_time_prob", 0.05) > 0 or options.get("mask_feature_prob", 0.0) > 0:
        torch.empty(model.config.hidden_size).uniform_()  # the embedding of masked frames
    for _ in range(2):
        torch.empty_like(model.encoder.pos_conv_embed.conv.weight).normal_()


def _is_plain(options: Any) -> bool:
    if not isinstance(options, Mapping) or options.get("model_type") != "hubert":
        return False
    return all(options.get(name, value) == value for name, value in _ONLY.items())


def _encoder_weights(stored: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Weights under this module's names; what only a head or augmentation uses is left out."""
    weights = {}
    for key, value in stored.items():
        name = key.removeprefix(PREFIX)
        for old, new in _RENAMED.items():
            name = name.replace(old, new)
        if name in wanted:
            weights[name] = value.float()  # some are stored in half precision
    return weights


class Linear(nn.Linear):
    """Without random weights, which would be replaced."""

    def reset_parameters(self) -> None:
        """Does nothing."""


class Convolution(nn.Conv1d):
    """Without random weights."""

    def reset_parameters(self) -> None:
        """Does nothing."""


class Hubert(nn.Module):
    """The encoder's three parts; a backend runs them and collects the states."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(config)
        self.feature_projection = FeatureProjection(config)
        self.encoder = Encoder(config)


class FeatureExtractor(nn.Module):
    """Convolutions over samples."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.conv_layers = nn.ModuleList(
            ConvolutionLayer(config, index) for index in range(len(config.conv_dim))
        )

    def forward(self, speech: Tensor) -> Tensor:
        """Waveforms (batch, samples) to (batch, channels, frames)."""
        hidden = speech[:, None]
        for layer in self.conv_layers:
            hidden = layer(hidden)
        return hidden


class ConvolutionLayer(nn.Module):
    """A convolution, its norm where it has one, and GELU."""

    layer_norm: nn.Module | None

    def __init__(self, config: HubertConfig, index: int) -> None:
        super().__init__()
        channels = config.conv_dim[index]
        self.conv = Convolution(
            config.conv_dim[index - 1] if index else 1,
            channels,
            kernel_size=config.conv_kernel[index],
            stride=config.conv_stride[index],
            bias=config.conv_bias,
        )
        self.layer_norm = None
        if config.feat_extract_norm == "layer":
            self.layer_norm = nn.LayerNorm(channels)
        elif index == 0:
            self.layer_norm = nn.GroupNorm(channels, channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, channels, time) to fewer positions in time."""
        hidden = self.conv(hidden)
        if isinstance(self.layer_norm, nn.LayerNorm):
            hidden = self.layer_norm(hidden.transpose(-2, -1)).transpose(-2, -1)
        elif self.layer_norm is not None:
            hidden = self.layer_norm(hidden)
        return F.gelu(hidden)


class FeatureProjection(nn.Module):
    """From the convolutions' channels to the transformer's dimension."""

    layer_norm: nn.Module | None

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        channels = config.conv_dim[-1]
        self.layer_norm = None
        if config.feat_proj_layer_norm:
            self.layer_norm = nn.LayerNorm(channels, eps=config.layer_norm_eps)
        self.projection = Linear(channels, config.hidden_size)
        self.dropout = nn.Dropout(config.feat_proj_dropout)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, frames, channels) to (batch, frames, dim)."""
        if self.layer_norm is not None:
            features = self.layer_norm(features)
        return self.dropout(self.projection(features))


class Encoder(nn.Module):
    """Position convolution and transformer layers."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.pre_norm = config.do_stable_layer_norm
        self.pos_conv_embed = PositionConvolution(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, frames, dim) to the last state, of the same shape."""
        hidden = hidden + self.pos_conv_embed(hidden)
        if not self.pre_norm:
            hidden = self.layer_norm(hidden)
        hidden = self.dropout(hidden)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.layer_norm(hidden) if self.pre_norm else hidden


class PositionConvolution(nn.Module):
    """Position embedding: a wide grouped convolution over the frames."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        width = config.num_conv_pos_embeddings
        convolution = Convolution(
            config.hidden_size,
            config.hidden_size,
            kernel_size=width,
            padding=width // 2,
            groups=config.num_conv_pos_embedding_groups,
        )
        self.conv = weight_norm(convolution, name="weight", dim=2)
        self.surplus = 1 - width % 2  # an even kernel gives one frame too many

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, frames, dim) to the same shape."""
        positions = self.conv(hidden.transpose(1, 2))
        positions = positions[:, :, : positions.size(2) - self.surplus]
        return F.gelu(positions).transpose(1, 2)


class Layer(nn.Module):
    """Attention and a network of two layers, with norms before (large) or after them."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.pre_norm = config.do_stable_layer_norm
        self.attention = Attention(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """(batch, frames, dim) to the same shape.

        Args:
            hidden: The frames.
            attention_mask: Added to the scores, (batch, 1, frames, frames); -inf at padding.
        """
        if self.pre_norm:
            attended = self.attention(self.layer_norm(hidden), attention_mask)
            hidden = hidden + self.dropout(attended)
            return hidden + self.feed_forward(self.final_layer_norm(hidden))
        hidden = self.layer_norm(hidden + self.dropout(self.attention(hidden, attention_mask)))
        return self.final_layer_norm(hidden + self.feed_forward(hidden))


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        dim = config.hidden_size
        self.heads = config.num_attention_heads
        self.dropout = config.attention_dropout
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (Linear(dim, dim) for _ in range(4))

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """(batch, frames, dim) to the same shape; the mask is added to the scores."""
        query, key, value = (
            projection(hidden).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )  # (batch, heads, frames, dim / heads)
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return self.out_proj(attended.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.intermediate_dropout = nn.Dropout(config.activation_dropout)
        self.intermediate_dense = Linear(config.hidden_size, config.intermediate_size)
        self.output_dense = Linear(config.intermediate_size, config.hidden_size)
        self.output_dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Of any shape (..., dim)."""
        hidden = self.intermediate_dropout(F.gelu(self.intermediate_dense(hidden)))
        return self.output_dropout(self.output_dense(hidden))
