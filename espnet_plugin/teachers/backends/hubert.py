"""HuBERT without transformers, from a directory in the form of its ``save_pretrained``.

Importing transformers takes longer than everything else that one spoken query needs: 2.5 times as
long as importing PyTorch. So a HuBERT that is on the disk is built of torchaudio's modules. Names
of weights, and every operation, are transformers': outputs are equal bit by bit, dropouts included.
Paper: HuBERT (arXiv 2106.07447).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espnet_plugin.teachers.hub import CONFIG_JSON
from espnet_plugin.teachers.weights import check_fit, read_safetensors
from espnet_plugin.utils.small_files import read_json

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
    feat_proj_dropout: float = 0.0
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
    "feat_proj_layer_norm": True,
    "layer_norm_eps": 1e-5,
    "conv_pos_batch_norm": False,
    "adapter_attn_dim": None,
    "quantization_config": None,
}


def read_hubert(directory: str | Path, *, dropout: float | None = None) -> Hubert | None:
    """Builds the HuBERT in a directory, in evaluation mode and float32.

    Args:
        directory: Directory that holds ``config.json`` and ``model.safetensors``.
        dropout: Probability of the dropouts, as
            :class:`~espnet_plugin.teachers.backends.huggingface.HuggingFaceBackend` describes it.

    Returns:
        The encoder; None if the directory holds something else, which transformers may read.

    Raises:
        ValueError: If the weights are damaged, or are not those of the configuration.
    """
    config_file, weights_file = (Path(directory) / name for name in (CONFIG_JSON, WEIGHTS_FILE))
    if not (config_file.is_file() and weights_file.is_file()):
        return None
    try:
        options = read_json(config_file)
    except ValueError:
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
    check_fit(weights, expected, f"{directory}: the weights lack what its {CONFIG_JSON} describes")
    model.load_state_dict(weights, assign=True)
    _draw_as_transformers(options, model)
    return model.eval()


def _draw_as_transformers(options: Mapping[str, Any], model: Hubert) -> None:
    """Draws the random numbers that transformers draws before it reads the weights.

    So with the same seed, training starts from the same weights with either encoder.
    """
    if options.get("mask_time_prob", 0.05) > 0 or options.get("mask_feature_prob", 0.0) > 0:
        torch.empty(model.config.hidden_size).uniform_()  # the embedding of masked frames
    shape = model.encoder.pos_conv_embed.conv.weight.shape
    for _ in range(2):
        torch.empty(shape).normal_()


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


class StoredWeights(TorchFunctionMode):
    """Modules built here get no random weights, because stored ones will replace them.

    On the device "meta", PyTorch's initialisation imports SymPy, which takes a second.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Skips the functions of ``torch.nn.init``."""
        options = kwargs or {}
        if getattr(function, "__module__", None) == "torch.nn.init":
            return options["tensor"]
        return function(*args, **options)


class Hubert(nn.Module):
    """The encoder's three parts under transformers' names; a backend runs them and collects the
    states.

    The weights are undefined before ``load_state_dict(..., assign=True)``.
    """

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        from torchaudio.models import wav2vec2_model

        self.config = config
        layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
        with StoredWeights():
            whole = wav2vec2_model(
                extractor_mode=f"{config.feat_extract_norm}_norm",
                extractor_conv_layer_config=list(layers),
                extractor_conv_bias=config.conv_bias,
                encoder_embed_dim=config.hidden_size,
                encoder_projection_dropout=config.feat_proj_dropout,
                encoder_pos_conv_kernel=config.num_conv_pos_embeddings,
                encoder_pos_conv_groups=config.num_conv_pos_embedding_groups,
                encoder_num_layers=config.num_hidden_layers,
                encoder_num_heads=config.num_attention_heads,
                encoder_attention_dropout=config.attention_dropout,
                encoder_ff_interm_features=config.intermediate_size,
                encoder_ff_interm_dropout=config.activation_dropout,
                encoder_dropout=config.hidden_dropout,
                encoder_layer_norm_first=config.do_stable_layer_norm,
                encoder_layer_drop=0.0,
                aux_num_out=None,
            )
        self.feature_extractor = Convolutions(whole.feature_extractor.conv_layers)
        self.feature_projection = whole.encoder.feature_projection
        self.encoder = Transformer(whole.encoder.transformer, config.do_stable_layer_norm)


class Convolutions(nn.Module):
    """Convolutions over samples."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.conv_layers = layers

    def forward(self, speech: Tensor) -> Tensor:
        """Turns waveforms (batch, samples) into features (batch, channels, frames)."""
        hidden = speech[:, None]
        for layer in self.conv_layers:
            hidden, _ = layer(hidden, None)
        return hidden


class Transformer(nn.Module):
    """Position convolution and layers, without the random number that torchaudio draws for each.

    Args:
        parts: torchaudio's transformer.
        pre_norm: Whether norms are before the layers (large models), not after them.
    """

    def __init__(self, parts: Any, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.pos_conv_embed = parts.pos_conv_embed
        self.layer_norm = parts.layer_norm
        self.dropout = parts.dropout
        self.layers = parts.layers

    def forward(self, hidden: Tensor) -> Tensor:
        """Turns features (batch, frames, dim) into the last state, of the same shape."""
        hidden = hidden + self.pos_conv_embed(hidden)
        if not self.pre_norm:
            hidden = self.layer_norm(hidden)
        hidden = self.dropout(hidden)
        for layer in self.layers:
            hidden, _ = layer(hidden)
        return self.layer_norm(hidden) if self.pre_norm else hidden
