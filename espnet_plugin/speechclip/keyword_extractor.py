"""From the attention block's output to keyword slots.

A keyword extractor turns the block's output into slots. It may put ``num_queries`` query vectors
before the frames, which are its ``queries`` if there are any; ``num_slots`` is the number of slots
of every utterance, None where it varies. ``KEYWORD_EXTRACTORS`` names the extractors for
configurations; a further one is a class with these attributes and the methods ``target_lengths``
and ``forward``, registered there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espnet_plugin.speechclip.cif import CIF, CifOutput, duration_targets
from espnet_plugin.speechclip.options import hands_on_to

TARGETS = ("duration", "subwords")


@dataclass(frozen=True)
class Slots:
    """Keyword slots before projection.

    Attributes:
        embeddings: (batch, slots, dim).
        lengths: Number of valid slots, (batch,).
        cif: Where the slots lie in time, if the extractor knows.
    """

    embeddings: Tensor
    lengths: Tensor
    cif: CifOutput | None = None


class ClsKeywordExtractor(nn.Module):
    """K learned queries, K keywords for every utterance (SpeechCLIP's cascaded architecture).

    Args:
        dim: Size of a frame.
        num_keywords: K.
    """

    def __init__(self, dim: int, *, num_keywords: int = 8) -> None:
        super().__init__()
        self.num_queries = self.num_slots = num_keywords
        self.queries = nn.Parameter(torch.randn(num_keywords, dim))

    def target_lengths(self, frame_lengths: Tensor, subword_lengths: Tensor | None = None) -> None:
        """The number of keywords is fixed: no target."""
        return None

    def forward(
        self,
        queries: Tensor,
        frames: Tensor | Sequence[Tensor],
        lengths: Tensor,
        *,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> Slots:
        """The block's outputs at the query positions are the slots.

        Args:
            queries: Block output at the query positions, (batch, num_queries, dim).
            frames: Block output at the frames, (batch, frames, dim); in training also in parts,
                one after the other.
            lengths: Number of frames, (batch,).
            target_lengths: Not used.
            step: Not used.
        """
        return Slots(queries, lengths.new_full((len(queries),), self.num_slots))


class CifKeywordExtractor(nn.Module):
    """Monotonic segmentation, as many keywords as the speech holds (SpeechCLIP+).

    Args:
        dim: Size of a frame.
        frames_per_keyword: Frames that a keyword should take, for the target by duration (20 frames
            = 400 ms).
        target: ``"duration"``, or ``"subwords"``: as many keywords as the caption has sub-words.
        **options: Those of :class:`espnet_plugin.speechclip.cif.CIF`.

    Raises:
        ValueError: If the target is unknown or ``frames_per_keyword`` not positive.
    """

    num_queries = 0
    num_slots = None

    @hands_on_to(CIF)
    def __init__(
        self,
        dim: int,
        *,
        frames_per_keyword: float = 20.0,
        target: str = "duration",
        **options: Any,
    ) -> None:
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {target!r}")
        if frames_per_keyword <= 0:
            raise ValueError(f"frames_per_keyword must be positive, got {frames_per_keyword}")
        self.frames_per_keyword = frames_per_keyword
        self.target = target
        self.cif = CIF(dim, **options)

    @property
    def reach(self) -> float | None:
        """Frames that ``max_keywords`` last for at the rate of the target; None where the target
        has no such rate. Speech that holds more segments is heard for less."""
        if self.target != "duration":
            return None
        return self.cif.max_keywords * self.frames_per_keyword

    def target_lengths(
        self, frame_lengths: Tensor, subword_lengths: Tensor | None = None
    ) -> Tensor:
        """Wanted number of keywords, (batch,).

        Args:
            frame_lengths: Number of frames, (batch,).
            subword_lengths: Number of the caption's sub-words, (batch,), for ``target="subwords"``.

        Raises:
            ValueError: If sub-words are the target and none are given.
        """
        if self.target == "duration":
            return duration_targets(frame_lengths, self.frames_per_keyword)
        if subword_lengths is None:
            raise ValueError(
                'keyword_extractor_conf.target is "subwords", but the data has no captions (text)'
            )
        return subword_lengths

    def forward(
        self,
        queries: Tensor,
        frames: Tensor | Sequence[Tensor],
        lengths: Tensor,
        *,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> Slots:
        """Cuts the frames into slots.

        Args:
            queries: Empty, (batch, 0, dim).
            frames: Block output at the frames, (batch, frames, dim); in training also in parts,
                one after the other.
            lengths: Number of frames, (batch,).
            target_lengths: Wanted number of slots in training, (batch,).
            step: Number of optimiser updates done.
        """
        output = self.cif(frames, lengths, target_lengths=target_lengths, step=step)
        return Slots(output.embeddings, output.lengths, output)


KEYWORD_EXTRACTORS: dict[str, type[nn.Module]] = {
    "cls": ClsKeywordExtractor,
    "cif": CifKeywordExtractor,
}
