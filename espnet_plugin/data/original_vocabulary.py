"""The keyword vocabulary of the original: its counts, and its order to the last tie.

The original counts the sub-words of all captions of a corpus, dev and test included, padded to
CLIP's 77 positions, so that start, end and padding are counted too. It then sorts the counts, in
order of token id, with NumPy's scalar quicksort and reads the result from the end. Quicksort is not
stable, so the order of equally frequent tokens is that algorithm's own. It is done step by step
here, because NumPy itself sorts otherwise on a processor with wide vector instructions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from espnet_plugin.speechclip.vocabulary import PADDING_ID

CONTEXT_LENGTH = 77
_INSERTION = 16  # so few values are sorted by insertion


def count_with_padding(captions: Iterable[str], tokenizer: Any) -> Counter[int]:
    """Counts token ids with start, end and the padding up to 77 positions of every caption.

    Args:
        captions: Texts.
        tokenizer: CLIP's, with ``encode``, ``sot_token_id`` and ``eot_token_id``.
    """
    counts: Counter[int] = Counter()
    padding = 0
    number = 0
    for caption in captions:
        ids = tokenizer.encode(caption)[: CONTEXT_LENGTH - 2]
        counts.update(ids)
        padding += CONTEXT_LENGTH - 2 - len(ids)
        number += 1
    if number:
        counts[tokenizer.sot_token_id] += number
        counts[tokenizer.eot_token_id] += number
        counts[PADDING_ID] += padding
    return counts


def original_order(counts: Mapping[int, int]) -> list[int]:
    """Token ids in the original's row order: most frequent first, ties as its sort left them."""
    ids = sorted(counts)
    return [ids[place] for place in reversed(quicksort_places([counts[i] for i in ids]))]


def quicksort_places(values: Sequence[int]) -> list[int]:
    """Places of the values in ascending order, ties as median-of-three quicksort leaves them.

    The smaller part of each partition is sorted first, parts of up to 16 values by insertion.

    >>> quicksort_places([30, 10, 20])
    [1, 2, 0]
    """
    order = list(range(len(values)))
    waiting = [(0, len(values) - 1)]
    while waiting:
        low, high = waiting.pop()
        while high - low >= _INSERTION:
            cut = _partition(order, values, low, high)
            left, right = (low, cut - 1), (cut + 1, high)
            if cut - low < high - cut:
                waiting.append(right)
                low, high = left
            else:
                waiting.append(left)
                low, high = right
        _insertion_sort(order, values, low, high)
    return order


def _partition(order: list[int], values: Sequence[int], low: int, high: int) -> int:
    """Splits order[low..high] around the median of its first, middle and last value."""
    middle = low + (high - low) // 2
    for a, b in ((low, middle), (middle, high), (low, middle)):
        if values[order[b]] < values[order[a]]:
            order[a], order[b] = order[b], order[a]
    pivot = values[order[middle]]
    # the first and last are on their sides already; the pivot waits beside the last
    order[middle], order[high - 1] = order[high - 1], order[middle]
    up, down = low, high - 1
    while True:
        up += 1
        while values[order[up]] < pivot:
            up += 1
        down -= 1
        while values[order[down]] > pivot:
            down -= 1
        if up >= down:
            break
        order[up], order[down] = order[down], order[up]
    order[up], order[high - 1] = order[high - 1], order[up]
    return up


def _insertion_sort(order: list[int], values: Sequence[int], low: int, high: int) -> None:
    for place in range(low + 1, high + 1):
        moved = order[place]
        while place > low and values[moved] < values[order[place - 1]]:
            order[place] = order[place - 1]
            place -= 1
        order[place] = moved
