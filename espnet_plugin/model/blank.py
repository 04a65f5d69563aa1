"""Segments that choose no sub-word.

In training, segments are read as CTC reads frames (Graves et al., 2006): one may be blank, and
equal neighbours are one keyword unless a blank is between them. The text tower reads the
expectation of that, which has gradients. Inference decides for each segment. With an option, the
sound says whether a word is said twice, see :mod:`espnet_plugin.model.recurrence`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    both = probabilities[:, 1:] * probabilities[:, :-1]  # (batch, slots - 1, rows)
    share = (1 - said_before * F.pad(both.sum(dim=2), (1, 0))).clamp(min=1e-6)
    repeated = said_before[:, 1:, None] * both
    new = torch.cat([probabilities[:, :1], probabilities[:, 1:] - repeated], dim=1)
    total = new @ table.to(probabilities.dtype)  # (batch, slots, token_dim)
    return Reading(said, said * share, total / share[:, :, None])


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
