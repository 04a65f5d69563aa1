"""Batches of a corpus of several languages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from statistics import mean
from typing import Any

import numpy as np
from espnet2.samplers.abs_sampler import AbsSampler

from espnet_plugin.train.unique_image_sampler import UniqueImageBatchSampler

LANGUAGE_BATCHES = ("mixed", "separate", "parallel")


class LanguageBatchSampler(AbsSampler):
    """Makes batches of one language, or (``parallel``) with an image's caption in every language.

    Separate languages do not give each other negatives. Parallel ones are for the cross-lingual
    term: each epoch draws again which captions of an image come together. Nothing is dropped. Where
    a language has fewer captions of an image than another, the other's last ones come without it.

    Args:
        utt2image: Image of each utterance.
        utt2lang: Language of each utterance.
        parallel: Whether every batch has all languages.
        batch_size: Largest number of utterances of a batch, over all ranks together.
        lengths: Length of each utterance in any unit; needed with ``sort_window`` > 1.
        seed: Seed of the run, which is mixed with the number of the epoch.
        **options: Options of :class:`UniqueImageBatchSampler`, which keeps captions of an image in
            the same language apart.
    """

    def __init__(
        self,
        utt2image: Mapping[str, object],
        utt2lang: Mapping[str, str],
        *,
        parallel: bool,
        batch_size: int,
        lengths: Mapping[str, int] | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        by_image: dict[tuple[object, str], dict[str, list[str]]] = {}
        for utterance, image in sorted(utt2image.items()):
            language = utt2lang[utterance]
            key = image, "" if parallel else language
            by_image.setdefault(key, {}).setdefault(language, []).append(utterance)
        self.captions = list(by_image.values())  # of an image, by language
        self.parallel = parallel
        self.seed = seed
        # what is drawn together: a place in self.captions, and a number there
        self.groups: dict[str, tuple[int, int]] = {}
        images: dict[str, dict[str, object]] = {}
        group_lengths: dict[str, int] = {}
        for place, ((image, part), spoken) in enumerate(by_image.items()):
            for n in range(max(map(len, spoken.values()))):
                self.groups[group := f"{place} {n}"] = place, n
                images.setdefault(part, {})[group] = image
                if lengths is not None:
                    # each epoch draws which captions come together: their mean length counts
                    group_lengths[group] = round(
                        sum(mean(lengths[u] for u in each) for each in spoken.values())
                        if parallel
                        else lengths[spoken[part][n]]
                    )
        together = len(set(utt2lang.values())) if parallel else 1
        least = together * options.get("world_size", 1)
        if batch_size < least:
            raise ValueError(f"batch_size {batch_size} is too small; give {least} or more")
        size = batch_size // together
        self.samplers = [
            UniqueImageBatchSampler(
                images[part], batch_size=size, lengths=group_lengths, seed=seed, **options
            )
            for part in sorted(images)
        ]

    def __len__(self) -> int:
        return sum(map(len, self.samplers))

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self.generate(0))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.samplers))})"

    def generate(self, epoch: int) -> list[tuple[str, ...]]:
        """This rank's share of the batches of an epoch, the same at each call."""
        rng = np.random.default_rng([self.seed, epoch])
        drawn = [list(by.values()) for by in self.captions]
        if self.parallel:
            drawn = [[rng.permutation(each).tolist() for each in by] for by in drawn]
        batches = [batch for sampler in self.samplers for batch in sampler.generate(epoch)]
        return [
            tuple(
                utterances[n]
                for place, n in map(self.groups.__getitem__, batches[i])
                for utterances in drawn[place]
                if n < len(utterances)
            )
            for i in rng.permutation(len(batches))
        ]


def batch_sampler(
    languages: str, utt2image: Mapping[str, Any], lids: Callable[[], dict[str, str]], **options: Any
) -> AbsSampler:
    """Makes the sampler of ``mixed``, ``separate`` or ``parallel`` languages.

    ``lids`` reads the utterances' languages; for mixed ones it is not called.
    """
    if languages == "mixed":
        return UniqueImageBatchSampler(utt2image, **options)
    return LanguageBatchSampler(utt2image, lids(), parallel=languages == "parallel", **options)
