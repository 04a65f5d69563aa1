"""Segments that choose no sub-word.

In training, segments are read as CTC reads frames (Graves et al., 2006): one may be blank, and
equal neighbours are one keyword unless a blank is between them. The text tower reads the
expectation of that, which has gradients. Inference decides for each segment. With an option, the
sound says whether a word is said twice, see :mod:`espnet_plugin.model.recurrence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from espnet_plugin.utils.padding import padding_mask

INITIAL_BIAS = -2.0  # 12 % of the segments are blank at the start


class Blank(nn.Linear):
    """Probability that a segment is blank, from its keyword; a low temperature sharpens it.

    Args:
        dim: Size of a keyword (token embedding).
    """

    def __init__(self, dim: int) -> None:
        super().__init__(dim, 1)
        nn.init.zeros_(self.weight)
        nn.init.constant_(self.bias, INITIAL_BIAS)

    def forward(self, keywords: Tensor, temperature: Tensor | float = 1.0) -> Tensor:
        """Turns keywords (batch, slots, dim) into float32 probabilities (batch, slots)."""
        return (super().forward(keywords)[..., 0].float() / temperature).sigmoid()


@dataclass(frozen=True)
class Reading:
    """Probability that each segment of a batch is a keyword, and what its embedding then is.

    Attributes:
        said: Probability that a segment is not blank, (batch, slots); 0 at padding.
        kept: Probability that it is a keyword of its own, (batch, slots); 0 at padding.
        embeddings: Mean embedding of the sub-words that it can be, (batch, slots, token_dim).
    """

    said: Tensor
    kept: Tensor
    embeddings: Tensor


def expected_reading(
    probabilities: Tensor, table: Tensor, blank: Tensor, lengths: Tensor
) -> Reading:
    r"""Expectation of blanks and repeats, of segments that choose independently.

    Segment n is blank with probability :math:`\beta_n`, else it chooses sub-word i with
    :math:`p_n(i)`. It is a keyword of its own if it is not blank and the segment before it did not
    choose the same sub-word:

    .. math:: q_n(i) = (1 - \beta_n) \, p_n(i) \, \bigl(1 - (1 - \beta_{n-1}) \, p_{n-1}(i)\bigr)

    ``kept`` is :math:`\sum_i q_n(i)` and ``embeddings`` :math:`\sum_i q_n(i) e_i` over it.

    Args:
        probabilities: Probability p of each sub-word, (batch, slots, rows).
        table: Embedding e of each sub-word, (rows, token_dim).
        blank: Probability beta that a segment is blank, (batch, slots).
        lengths: Number of valid slots, (batch,).
    """
    said = (1 - blank).masked_fill(padding_mask(lengths, blank.size(1)), 0.0)  # (batch, slots)
    said_before = F.pad(said[:, :-1], (1, 0))
    total, same = _NewWords.apply(probabilities, said_before, table.to(probabilities.dtype))
    share = (1 - said_before * same).clamp(min=1e-6)
    return Reading(said, said * share, total / share[:, :, None])


class _NewWords(torch.autograd.Function):
    """Sum of the table's rows by p_n(i) (1 - s_n p_{n-1}(i)), and the sums of p_n(i) p_{n-1}(i).

    Autograd's own gradient needs twice the products with the table, and copies of slices; with
    thousands of rows they take a twentieth of a training step.
    """

    @staticmethod
    def forward(
        ctx: Any, shares: Tensor, said_before: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Takes shares p (batch, slots, rows), s (batch, slots) and the table (rows, token_dim).

        Returns:
            (batch, slots, token_dim) and (batch, slots).
        """
        ctx.save_for_backward(shares, said_before, table)
        both = shares[:, 1:] * shares[:, :-1]  # (batch, slots - 1, rows)
        same = F.pad(both.sum(dim=2), (1, 0))
        new = shares.clone()
        new[:, 1:].addcmul_(both, said_before[:, 1:, None], value=-1)
        return new @ table, same

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_total: Tensor, of_same: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of shares and s."""
        shares, said_before, table = ctx.saved_tensors
        before, after = shares[:, :-1], shares[:, 1:]
        of_new = of_total @ table.T  # (batch, slots, rows)
        of_said = -torch.einsum("bsv,bsv->bs", of_new[:, 1:] * after, before)
        of_both = of_same[:, 1:, None] - of_new[:, 1:] * said_before[:, 1:, None]
        of_new[:, 1:].addcmul_(of_both, before)
        of_new[:, :-1].addcmul_(of_both, after)
        return of_new, F.pad(of_said, (1, 0)), None


def choose_blanks(blank: Tensor, lengths: Tensor) -> Tensor:
    """Segments that are blank at inference: those above 0.5, but never all of an utterance.

    Args:
        blank: Probability that a segment is blank, (batch, slots).
        lengths: Number of valid slots, at least one, (batch,).

    Returns:
        (batch, slots), true at padding.
    """
    blank = blank.masked_fill(padding_mask(lengths, blank.size(1)), torch.inf)
    likeliest_said = F.one_hot(blank.argmin(dim=1), blank.size(1)).bool()
    return (blank > 0.5) & ~likeliest_said
