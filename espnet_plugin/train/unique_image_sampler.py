"""Batches for a contrastive loss over images with several captions each.

Stock samplers either keep a batch's composition (the same negatives every epoch) or drop
utterances. None keeps two captions of one image apart. Two captions of one image in a batch waste a
row: the loss has to mask the pair.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from espnet2.samplers.abs_sampler import AbsSampler


def spread_sizes(total: int, parts: int, multiple: int) -> list[int]:
    """Splits ``total``, a multiple of ``multiple``, into nearly equal sizes that are multiples too.

    >>> spread_sizes(10, 4, 1)
    [3, 3, 2, 2]
    >>> spread_sizes(12, 2, 4)
    [8, 4]
    """
    return [multiple * len(part) for part in np.array_split(np.arange(total // multiple), parts)]


def can_be_spread(captions_per_image: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether groups of these sizes can hold all captions without an image twice in a group.

    By the condition of Gale and Ryser, the k largest groups may hold at most min(captions, k)
    utterances of each image.
    """
    counts = np.asarray(captions_per_image)
    largest = np.cumsum(np.sort(np.asarray(sizes))[::-1])
    # beyond the largest caption count the right-hand side no longer grows
    return all(
        largest[k - 1] <= np.minimum(counts, k).sum()
        for k in range(1, min(len(sizes), int(counts.max())) + 1)
    ) and len(sizes) >= int(counts.max())


class UniqueImageBatchSampler(AbsSampler):
    """Draws new batches each epoch, without two captions of one image in a batch; drops nothing.

    Every batch has a multiple of ``world_size`` utterances, because the ranks' shares are gathered.
    If needed, fewer than ``world_size`` utterances come twice in an epoch, in different batches.
    Sizes differ by at most ``world_size``.

    If an image has more captions than there are batches, the batches become smaller and more, with
    a warning.

    Args:
        utt2image: Image of each utterance.
        batch_size: Largest number of utterances of a batch, over all ranks together.
        lengths: Length of each utterance in any unit; needed with ``sort_window`` > 1.
        sort_window: Number of batches that are drawn together, sorted by length and cut. With 1,
            utterances are shuffled uniformly, as in the original. A larger number saves padding,
            but gives negatives of nearly equal length, and batch statistics drift with the length.
            Captions of an image are kept apart in the whole window.
        world_size: Number of ranks.
        rank: The rank whose share of each batch ``generate`` returns.
        seed: Seed of the run, which is mixed with the number of the epoch.

    Raises:
        ValueError: If there are no utterances, fewer images than ranks, no window, or lengths are
            missing.
    """

    def __init__(
        self,
        utt2image: Mapping[str, object],
        *,
        batch_size: int,
        lengths: Mapping[str, int] | None = None,
        sort_window: int = 1,
        world_size: int = 1,
        rank: int = 0,
        seed: int = 0,
    ) -> None:
        if sort_window < 1:
            raise ValueError(f"sort_window must be 1 or more, got {sort_window}")
        captions: dict[object, list[str]] = {}
        for utterance, image in sorted(utt2image.items()):
            captions.setdefault(image, []).append(utterance)
        if not captions:
            raise ValueError("There is no utterance to make batches of.")
        if len(captions) < world_size:
            raise ValueError(
                f"more processes ({world_size}) than images ({len(captions)}): "
                "use fewer processes or more data."
            )
        if batch_size < world_size:
            raise ValueError(
                f"batch_size {batch_size} is smaller than the number of processes {world_size}; "
                "batch_size counts the utterances of all processes together."
            )
        if sort_window > 1:
            missing = next((u for u in utt2image if u not in (lengths or {})), None)
            if missing is not None:
                raise ValueError(f"No length of utterance {missing}: sorting needs a shape file.")
        self.captions = captions
        self.lengths = lengths
        self.world_size = world_size
        self.rank = rank
        self.seed = seed
        self.num_utterances = len(utt2image)
        self.padded = -(-self.num_utterances // world_size) * world_size
        self.sizes = self._batch_sizes(batch_size - batch_size % world_size)
        self.windows = self._windows(sort_window)

    def _batch_sizes(self, batch_size: int) -> list[int]:
        wanted = -(-self.padded // batch_size)
        counts = self._caption_counts()
        for batches in range(wanted, self.padded // self.world_size + 1):
            sizes = spread_sizes(self.padded, batches, self.world_size)
            if can_be_spread(counts, sizes):
                break
        else:
            raise ValueError(
                f"images ({len(counts)}, captions of one: up to {max(counts)}) cannot be spread "
                f"over batches (processes: {self.world_size}): use fewer processes or more data."
            )
        if batches > wanted:
            logging.warning(
                f"batch_size {batch_size} would put captions of one image into one batch "
                f"(images: {len(counts)}, captions of one: up to {max(counts)}): "
                f"using batches of at most {max(sizes)} instead, in all {batches}."
            )
        return sizes

    def _caption_counts(self) -> list[int]:
        """Number of captions of each image, with repeated ones (they go to the rarest images)."""
        counts = sorted(len(utterances) for utterances in self.captions.values())
        for i in range(self.padded - self.num_utterances):
            counts[i] += 1
        return counts

    def _windows(self, sort_window: int) -> list[list[int]]:
        """Batch sizes of each window: the widest windows that keep captions apart."""
        counts = self._caption_counts()
        widest = min(sort_window, len(self.sizes))
        for width in range(widest, 0, -1):
            number = -(-len(self.sizes) // width)
            windows = [self.sizes[i::number] for i in range(number)]
            if can_be_spread(counts, [sum(window) for window in windows]):
                if width < widest:
                    logging.warning(
                        f"Sorting by length within {width} of {widest} batches only: "
                        "more would bring captions of one image together."
                    )
                return windows
        raise AssertionError("windows of one batch were checked by _batch_sizes")

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self.generate(0))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(utterances={self.num_utterances}, images={len(self.captions)}, "
            f"batches={len(self.sizes)}, sizes={min(self.sizes)}-{max(self.sizes)}, "
            f"sort_window={max(map(len, self.windows))}, "
            f"rank={self.rank}/{self.world_size})"
        )

    def generate(self, epoch: int) -> list[tuple[str, ...]]:
        """This rank's share of the batches of an epoch, the same at each call."""
        rng = np.random.default_rng([self.seed, epoch])
        batches: list[list[str]] = []
        for window, utterances in zip(self.windows, self._draw(rng), strict=True):
            sizes = [window[i] for i in rng.permutation(len(window))]
            if len(sizes) > 1:
                assert self.lengths is not None
                utterances.sort(key=lambda utterance: self.lengths[utterance])
            starts = np.cumsum([0, *sizes])
            batches += [utterances[a:b] for a, b in zip(starts[:-1], starts[1:], strict=True)]
        order = rng.permutation(len(batches))
        return [tuple(batches[i][self.rank :: self.world_size]) for i in order]

    def _draw(self, rng: np.random.Generator) -> list[list[str]]:
        """Random windows: each caption goes to the emptiest window that lacks its image.

        If a solution exists, taking the windows with the most room left finds one (Ryser's
        construction), whatever the order of the images.
        """
        groups = list(self.captions.values())
        rng.shuffle(groups)
        repeats = self.padded - self.num_utterances
        rarest = sorted(range(len(groups)), key=lambda i: len(groups[i]))[:repeats]
        for i in rarest:
            groups[i] = [*groups[i], groups[i][rng.integers(len(groups[i]))]]
        drawn: list[list[str]] = [[] for _ in self.windows]
        heap = [(-sum(sizes), rng.random(), i) for i, sizes in enumerate(self.windows)]
        heapq.heapify(heap)
        for group in groups:
            chosen = [heapq.heappop(heap) for _ in group]
            for (room, _, window), position in zip(
                chosen, rng.permutation(len(group)), strict=True
            ):
                drawn[window].append(group[position])
                heapq.heappush(heap, (room + 1, rng.random(), window))
        for utterances in drawn:
            rng.shuffle(utterances)
        return drawn
