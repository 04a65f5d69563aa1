"""Replacing each keyword by the nearest sub-word of CLIP's vocabulary, differentiably.

As in SpeechCLIP (arXiv 2210.00705), a softmax is taken of cosine similarities to the token table,
with a straight-through estimate of the arg-max. Your own quantiser needs ``forward`` and
``current_temperature`` of :class:`TokenQuantizer`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.bounds import set_bounds
from espnet_plugin.utils.padding import padding_mask

LOWEST_LEARNED_TEMPERATURE = 1e-3


@dataclass(frozen=True)
class QuantizerOutput:
    """Keywords as rows of the token table.

    Attributes:
        embeddings: Input of the text tower, see :class:`TokenQuantizer`, (batch, slots, token_dim).
        rows: Index of the nearest row of the table, (batch, slots).
        similarities: Cosine to every row, −inf at forbidden ones, float32, (batch, slots, rows).
        code_perplexity: Effective number of rows in use over the batch's valid slots.
        probabilities: Share of each row in training's mixture, (batch, slots, rows), or None.
    """

    embeddings: Tensor
    rows: Tensor
    similarities: Tensor
    code_perplexity: Tensor
    probabilities: Tensor | None = None


def cosine_similarities(keywords: Tensor, table: Tensor) -> Tensor:
    """Cosine similarity of each keyword with each row of a table, in float32.

    Args:
        keywords: Vectors of the keywords, (batch, slots, token_dim).
        table: Vectors to compare them with, (rows, token_dim).

    Returns:
        (batch, slots, rows).
    """
    with torch.autocast(keywords.device.type, enabled=False):
        precision = torch.promote_types(keywords.dtype, torch.float32)
        keywords = F.normalize(keywords.to(precision), dim=-1, eps=1e-8)
        table = F.normalize(table.to(precision), dim=-1, eps=1e-8)
        return keywords @ table.T  # (batch, slots, rows)


def perplexity(distribution: Tensor) -> Tensor:
    """Exponential of a distribution's entropy: its effective number of outcomes."""
    return torch.exp(-(distribution * torch.log(distribution + 1e-7)).sum(dim=-1))


def token_usage(
    similarities: Tensor, lengths: Tensor | None = None, *, temperature: float = 1.0
) -> Tensor:
    """Mean use of each row by a batch's valid slots, (rows,).

    Args:
        similarities: Similarities in :class:`QuantizerOutput`, (batch, slots, rows).
        lengths: Number of valid slots, (batch,); all by default.
        temperature: Temperature of the softmax over the rows.
    """
    probabilities = (similarities / temperature).softmax(dim=-1).flatten(0, -2)
    if lengths is None:
        return probabilities.mean(dim=0)
    valid = ~padding_mask(lengths, similarities.size(1)).flatten()  # (batch * slots,)
    # A product instead of indexing, for which the host would wait for the device.
    with torch.autocast(similarities.device.type, enabled=False):
        return valid.to(probabilities.dtype) @ probabilities / valid.sum()


def diversity_loss(used: Tensor, rows: int) -> Tensor:
    """Share of the table that is not in use (wav2vec 2.0, arXiv 2006.11477, eq. 4).

    Args:
        used: Perplexity of what :func:`token_usage` gives.
        rows: Number of rows of the table.
    """
    return (rows - used) / rows


class TokenQuantizer(nn.Module):
    r"""Replaces each keyword by the nearest row of a table.

    With the rows :math:`e_1 \dots e_V` and the keyword :math:`x`, evaluation gives the nearest row
    and training with ``hard: false`` (the annealed choice) gives a mixture:

    .. math:: e_{\arg\max_i \cos(x, e_i)} \quad \text{and} \quad
        \sum_i p_i e_i, \; p = \mathrm{softmax}_i \frac{\cos(x, e_i)}{\tau_u}

    Training with ``hard: true`` gives the nearest row, with the gradient of the mixture. After
    :math:`u` optimiser updates a schedule :math:`[\tau_0, \tau_1, U]` is at
    :math:`\tau_u = \tau_0 (\tau_1 / \tau_0)^{\min(u / U, 1)}`.

    Args:
        temperature: :math:`\tau`: a number; ``[first, last, updates]`` for a schedule; or
            ``"learned"`` or ``"learned=0.2"`` for a trained parameter, which starts at 0.1 or the
            given value and never falls below 0.001.
        hard: Whether to give the nearest row in training, too.

    Raises:
        ValueError: If the temperature is none of these or not positive.
    """

    def __init__(
        self, *, temperature: float | str | Sequence[float] = 0.1, hard: bool = True
    ) -> None:
        super().__init__()
        self.hard = hard
        self.schedule: tuple[float, float, int] | None = None
        if isinstance(temperature, str):
            start = _learned_start(temperature)
            self.temperature = nn.Parameter(torch.tensor(start))
            set_bounds(self, {"temperature": (LOWEST_LEARNED_TEMPERATURE, None)})
            return
        if isinstance(temperature, Sequence):
            try:
                first, last, updates = (float(value) for value in temperature)
            except (TypeError, ValueError):
                raise ValueError(
                    f"quantizer_conf.temperature: a schedule is [first, last, updates], got "
                    f"{list(temperature)}"
                ) from None
            self.schedule = (first, last, int(updates))
            temperature = first
        if temperature <= 0 or (self.schedule and min(self.schedule) <= 0):
            given = self.schedule or temperature
            raise ValueError(f"temperature and its updates must be positive, got {given}")
        self.register_buffer("temperature", torch.tensor(float(temperature)), persistent=False)

    def current_temperature(self, step: int | None = None) -> Tensor:
        """Temperature after ``step`` optimiser updates."""
        if self.schedule is None:
            return self.temperature
        first, last, updates = self.schedule
        progress = min(max(step or 0, 0) / updates, 1.0)
        value = first * math.exp(progress * math.log(last / first))
        return torch.full_like(self.temperature, value)

    def forward(
        self,
        keywords: Tensor,
        table: Tensor,
        *,
        keys: Tensor | None = None,
        lengths: Tensor | None = None,
        forbidden: Tensor | None = None,
        step: int | None = None,
    ) -> QuantizerOutput:
        """Chooses a row of the table for every keyword.

        Args:
            keywords: Vectors of the keywords, (batch, slots, token_dim).
            table: Frozen token embeddings, (rows, token_dim).
            keys: Vectors that keywords are compared with, (rows, token_dim); by default the table.
            lengths: Number of valid slots for the perplexity, (batch,); all by default. Padded
                slots are quantised too.
            forbidden: True at rows that are never chosen, (rows,).
            step: Number of optimiser updates done, for a scheduled temperature.
        """
        compared = table if keys is None else keys
        cosines = cosine_similarities(keywords, compared)  # (batch, slots, rows)
        similarities = _forbid(cosines, forbidden)
        rows = similarities.argmax(dim=-1)  # (batch, slots)
        embeddings = table[rows]  # (batch, slots, token_dim)
        shares = None
        if self.training:
            with torch.autocast(keywords.device.type, enabled=False):
                # infinities before the division would turn its gradient into NaN
                scaled = _forbid(cosines / self.current_temperature(step), forbidden)
                shares = scaled.softmax(dim=-1)
                soft = shares @ table.to(shares.dtype)  # (batch, slots, token_dim)
            embeddings = embeddings + (soft - soft.detach()) if self.hard else soft
        with torch.no_grad():
            code = perplexity(_code_usage(rows, similarities.size(-1), lengths))
        return QuantizerOutput(embeddings, rows, similarities, code, shares)


def _learned_start(text: str) -> float:
    """Start of a temperature ``learned[=start]``."""
    name, _, start = text.partition("=")
    try:
        value = float(start or 0.1)
    except ValueError:
        value = math.nan
    if name != "learned" or not value >= LOWEST_LEARNED_TEMPERATURE:
        raise ValueError(
            "temperature must be a number, [first, last, updates], or 'learned[=start]' with a "
            f"start of at least {LOWEST_LEARNED_TEMPERATURE}; got {text!r}"
        )
    return value


def _code_usage(rows: Tensor, size: int, lengths: Tensor | None) -> Tensor:
    """Share of the valid slots that chose each row, (size,)."""
    counted = torch.ones_like(rows, dtype=torch.float32)  # (batch, slots)
    if lengths is not None:
        counted = counted.masked_fill(padding_mask(lengths, rows.size(1)), 0.0)
    counts = counted.new_zeros(size).index_add_(0, rows.flatten(), counted.flatten())
    return counts / counted.sum().clamp(min=1)


def _forbid(scores: Tensor, forbidden: Tensor | None) -> Tensor:
    return scores if forbidden is None else scores.masked_fill(forbidden, -torch.inf)
