"""Learned weights over a speech encoder's hidden states."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

LAYER_NORM_EPS = 1e-5


class LayerWeighting(nn.Module):
    r"""Weighted sum of hidden states, :math:`\sum_l \mathrm{softmax}(w)_l\, h_l`, w learned.

    The same as in SUPERB (https://arxiv.org/abs/2105.01051) and SpeechCLIP. The weights start
    equal.

    Args:
        num_layers: Number of hidden states.
        normalize: Normalisation of each hidden state. True or ``"layer"``: layer norm over its
            dimension (no affine transform, eps 1e-5); ``"frame"``: each frame is divided by its
            norm; ``"utterance"``: all frames are divided by their mean norm.

    Raises:
        ValueError: If ``normalize`` is unknown.
    """

    def __init__(self, num_layers: int, *, normalize: bool | str = False) -> None:
        super().__init__()
        if normalize not in (True, False, *_NORMALIZERS):
            known = ", ".join(_NORMALIZERS)
            raise ValueError(f"normalize must be true, false, {known}; got {normalize!r}")
        self.normalize = "layer" if normalize == 1 else str(normalize or "")  # 1 == True
        self.weights = nn.Parameter(torch.zeros(num_layers))

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Sums (batch, layers + 1, frames, dim) to (batch, frames, dim), in float32.

        Raises:
            ValueError: If the number of hidden states differs.
        """
        layers = hidden_states.size(1)
        if layers != self.weights.numel():
            raise ValueError(
                f"number of hidden states: {layers}, but weights for {self.weights.numel()}: "
                "the model was trained with another speech encoder"
            )
        with torch.autocast(hidden_states.device.type, enabled=False):
            if hidden_states.dtype == torch.float32:
                return self._sum(hidden_states)
            # The backward pass keeps them in half precision, not in the float32 of the sum.
            return checkpoint(
                self._sum, hidden_states, use_reentrant=False, preserve_rng_state=False
            )

    def _sum(self, hidden_states: Tensor) -> Tensor:
        batch, layers, frames, dim = hidden_states.shape
        weights = torch.softmax(self.weights.float(), dim=0)
        if self.normalize:
            total = torch.zeros_like(hidden_states[:, 0], dtype=torch.float32)
            for weight, state in zip(weights, hidden_states.unbind(1), strict=True):
                # only one normalised state, (batch, frames, dim), is in memory at a time
                total = torch.addcmul(total, weight, _NORMALIZERS[self.normalize](state.float()))
            return total
        # One product without a copy of the states: a matmul of a vector would transpose them
        # first. Stored ones are converted and laid out at once.
        flat = hidden_states.to(torch.float32, memory_format=torch.contiguous_format)
        flat = flat.reshape(batch, layers, frames * dim)
        return torch.bmm(weights.expand(batch, 1, layers), flat).view(batch, frames, dim)


def _utterance_norm(state: Tensor) -> Tensor:
    norms = state.norm(dim=-1, keepdim=True)  # (batch, frames, 1)
    frames = (norms > 0).sum(dim=1, keepdim=True).clamp(min=1)  # padded frames are zero
    return state / (norms.sum(dim=1, keepdim=True) / frames).clamp(min=1e-8)


_NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "layer": lambda state: F.layer_norm(state, state.shape[-1:], eps=LAYER_NORM_EPS),
    "frame": lambda state: state / (state.norm(dim=-1, keepdim=True) + 1e-8),
    "utterance": _utterance_norm,
}
