"""A large batch in parts of similar length.

Up to its keywords no utterance depends on another. Parts that are padded to their own longest
utterance compute less padding, and what is needed only for a moment takes the memory of a part.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

# Frames times dim of a part, padding included, unless one utterance has more: of HuBERT base 17
# utterances of 6.4 s, whose products have thousands of rows. Twice as much takes 3 % longer on a
# processor, for its padding, and 0.3 GiB more.
PART_VALUES = 2**22


def split_by_length(
    lengths: Tensor, ends: Sequence[int], *, limit: int
) -> tuple[Tensor | None, list[list[int]]]:
    """Parts of a batch.

    Args:
        lengths: Of the utterances, (batch,).
        ends: The same on the host.
        limit: A part's utterances times its longest are at most so many, or it is one utterance.

    Returns:
        The rows in the order of the parts, longest first, (batch,), None if the batch is one part
        and stays as it is; and the lengths of each part.
    """
    if len(ends) * max(ends) <= limit:
        return None, [list(ends)]
    parts: list[list[int]] = [[]]
    for end in sorted(ends, reverse=True):
        if parts[-1] and (len(parts[-1]) + 1) * parts[-1][0] > limit:
            parts.append([])
        parts[-1].append(end)
    return lengths.argsort(descending=True), parts
