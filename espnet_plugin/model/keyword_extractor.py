"""Makes keyword slots of the attention block's output.

A keyword extractor is a ``torch.nn.Module`` with the members of :class:`ClsKeywordExtractor`. Its
constructor takes the size of a frame, and its options by keyword. Without query vectors it has no
``queries``, and ``num_slots`` is None if utterances differ in their number of slots. A large
training batch comes in parts of similar length, each by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from espnet_plugin.model.cif import (
    CifOutput,
    FrameWeights,
    duration_targets,
    fire,
    integrate,
    join_outputs,
    scaled,
)
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from espnet_plugin.utils.padding import join_padded, zero_padding

TARGETS = ("duration", "subwords")


@dataclass(frozen=True)
class Slots:
    """Keyword slots before projection.

    Attributes:
        embeddings: Vectors of the slots, (batch, slots, dim), at least as many as the longest has.
        lengths: Number of valid slots, (batch,).
        cif: Times of the slots, or None if the extractor does not know them.
    """

    embeddings: Tensor
    lengths: Tensor
    cif: CifOutput | None = None

    def cut(self, slots: int) -> Slots:
        """The same slots with room for ``slots`` of them instead of more."""
        cif = None if self.cif is None else self.cif.cut(slots)
        return replace(self, embeddings=self.embeddings[:, :slots], cif=cif)


@dataclass(frozen=True)
class Segments:
    """Slots as sums of frames, which are computed when the batch's largest number is known.

    Attributes:
        frames: Vectors of the frames, (batch, frames, dim), finite everywhere.
        shares: Share of each frame in each slot, (batch, slots, frames).
        cif: Number and times of the slots.
    """

    frames: Tensor
    shares: Tensor
    cif: CifOutput

    @property
    def lengths(self) -> Tensor:
        """Number of valid slots, (batch,)."""
        return self.cif.lengths

    def cut(self, slots: int) -> Slots:
        """Computes the first ``slots`` slots."""
        with torch.autocast(self.frames.device.type, enabled=False):
            embeddings = integrate(self.shares[:, :slots], self.frames)
        return Slots(embeddings, self.lengths, self.cif.cut(slots))


def join_slots(parts: Sequence[Slots | Segments], num_slots: int | None) -> Slots:
    """The slots of the parts of a batch, with room for as many as there are.

    Args:
        parts: Slots of the parts of the batch, in order.
        num_slots: Number of slots of every utterance. With None the host looks up the largest.
    """
    lengths = torch.cat([part.lengths for part in parts])  # (batch,)
    most = int(lengths.max()) if num_slots is None else num_slots
    slots = [part.cut(most) for part in parts]
    cif = [part.cif for part in slots if part.cif is not None]
    embeddings = join_padded([part.embeddings for part in slots])
    return Slots(embeddings, lengths, join_outputs(cif) if cif else None)


class ClsKeywordExtractor(nn.Module):
    """K learned queries, K keywords for every utterance (SpeechCLIP's cascaded architecture).

    Args:
        dim: Size of a frame.
        num_keywords: Number K of queries and keywords.

    Attributes:
        num_queries: Number of query vectors that the attention block sees before the frames.
        queries: These vectors, (num_queries, dim).
        num_slots: Number of slots of every utterance.
    """

    def __init__(self, dim: int, *, num_keywords: int = 8) -> None:
        super().__init__()
        self.num_queries = self.num_slots = num_keywords
        self.queries = nn.Parameter(torch.randn(num_keywords, dim))

    def target_lengths(self, frame_lengths: Tensor, subword_lengths: Tensor | None = None) -> None:
        """Wanted number of keywords for the quantity loss, (batch,): None, as it is fixed here.

        Args:
            frame_lengths: Number of frames, (batch,).
            subword_lengths: Number of the caption's sub-words, (batch,), if the task reads them.
        """
        return None

    def forward(
        self,
        queries: Tensor,
        frames: Tensor,
        lengths: Tensor,
        *,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> Slots:
        """Makes slots of the attention's output: here they are its output at the query positions.

        Args:
            queries: Attention output at the query positions, (batch, num_queries, dim).
            frames: Attention output at the frames, (batch, frames, dim), undefined at padding.
            lengths: Number of frames, (batch,).
            target_lengths: Wanted number of keywords in training, (batch,).
            step: Number of optimiser updates done, for schedules.
        """
        return Slots(queries, lengths.new_full((len(queries),), self.num_slots))


class CifKeywordExtractor(nn.Module):
    """Monotonic segmentation, as many keywords as the speech holds (SpeechCLIP+).

    In training the weights are scaled so they sum to the target. At inference the unfinished last
    slot is completed or dropped.

    Args:
        dim: Size of a frame.
        frames_per_keyword: Number of frames per keyword for the target by duration (20 = 400 ms).
        target: ``"duration"``, or ``"subwords"`` for as many keywords as the caption has sub-words.
        conv_width: Width of the convolutions that predict the weights, in frames, see
            :class:`espnet_plugin.model.cif.FrameWeights`.
        conv_layers: Number of these convolutions.
        dropout: Dropout of the network that predicts the weights.
        threshold: Weight that completes a slot. The quantity loss compares the sum of the weights
            with the target, as in the original; both agree only for 1.
        tail_threshold: Weight from which the unfinished last slot counts; None drops it, see
            :func:`espnet_plugin.model.cif.fire`.
        scaling_steps: Number of updates after which training no longer scales. With 0 it never
            scales; with a negative number it always does.
        max_keywords: Largest number of slots; more are dropped. CLIP's text tower reads 75.
        initial_bias: Bias of the weight projection at the start; None keeps PyTorch's random one.
        compatibility: Defects of the original to reproduce; the factory gives it.

    Raises:
        ValueError: If the target is unknown, or a number that must be positive is not.
    """

    num_queries = 0
    num_slots = None

    def __init__(
        self,
        dim: int,
        *,
        frames_per_keyword: float = 20.0,
        target: str = "duration",
        conv_width: int = 3,
        conv_layers: int = 1,
        dropout: float = 0.5,
        threshold: float = 1.0,
        tail_threshold: float | None = 0.5,
        scaling_steps: int = 5000,
        max_keywords: int = 75,
        initial_bias: float | None = None,
        compatibility: ReferenceCompatibility | None = None,
    ) -> None:
        super().__init__()
        if target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {target!r}")
        if frames_per_keyword <= 0:
            raise ValueError(f"frames_per_keyword must be positive, got {frames_per_keyword}")
        if min(threshold, max_keywords, 1 if tail_threshold is None else tail_threshold) <= 0:
            raise ValueError(
                "keyword_extractor_conf: threshold, max_keywords and tail_threshold (if not null) "
                f"must be positive, got {threshold}, {max_keywords} and {tail_threshold}"
            )
        self.frames_per_keyword = frames_per_keyword
        self.target = target
        self.threshold = threshold
        self.tail_threshold = tail_threshold
        self.scaling_steps = scaling_steps
        self.max_keywords = max_keywords
        self.compatibility = compatibility or ReferenceCompatibility()
        self.cif = FrameWeights(
            dim,
            conv_width=conv_width,
            conv_layers=conv_layers,
            dropout=dropout,
            initial_bias=initial_bias,
            convolve_padding=self.compatibility.convolve_padding,
        )

    @property
    def reach(self) -> float | None:
        """Number of frames that ``max_keywords`` last for at the rate of the target, or None if the
        target has no such rate. Of speech with more segments the rest is in no keyword."""
        if self.target != "duration":
            return None
        return self.max_keywords * self.frames_per_keyword

    def target_lengths(
        self, frame_lengths: Tensor, subword_lengths: Tensor | None = None
    ) -> Tensor:
        """Wanted number of keywords, (batch,), see :class:`ClsKeywordExtractor`.

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
        frames: Tensor,
        lengths: Tensor,
        *,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> Segments:
        """Cuts the frames into slots; :class:`ClsKeywordExtractor` says what the arguments are.

        With ``target_lengths`` the rules of training hold (scaling, no tail), else those of
        inference. ``alpha_sum`` is taken before scaling.
        """
        with torch.autocast(lengths.device.type, enabled=False):
            frames = frames if frames.dtype == torch.float64 else frames.float()
            if not self.compatibility.convolve_padding:
                frames = zero_padding(frames, lengths)
            alphas = self.cif(frames, lengths)  # (batch, frames)
            alpha_sum = alphas.sum(dim=1)  # (batch,)
            scales = self.scaling_steps < 0 or (step or 0) < self.scaling_steps
            if target_lengths is not None and scales:
                wanted = self.threshold * target_lengths.to(alphas.dtype)
                alphas = scaled(alphas, alpha_sum, wanted)
            shares, cif = fire(
                alphas,
                threshold=self.threshold,
                tail_threshold=self.tail_threshold if target_lengths is None else None,
                max_slots=self.max_keywords,
                keep_leftovers=self.compatibility.keep_leftovers,
            )
        return Segments(frames, shares, replace(cif, alpha_sum=alpha_sum))
