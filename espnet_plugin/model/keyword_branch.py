"""The cascaded branch up to CLIP's text tower: from frames to sub-words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.blank import Blank, choose_blanks, expected_reading
from espnet_plugin.model.keyword_extractor import Slots, join_slots
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from espnet_plugin.model.keywords import Keywords, merge_repeats
from espnet_plugin.model.quantizer import TokenQuantizer
from espnet_plugin.model.span_alignment import aligned_segments, state_change
from espnet_plugin.model.vocabulary import KeywordVocabulary
from espnet_plugin.teachers.speech_encoder import SpeechStates
from espnet_plugin.utils.padding import join_padded


@dataclass(frozen=True)
class MixedSpeech:
    """A batch, or a part of one, behind the attention block.

    Attributes:
        speech: The speech encoder's hidden states.
        queries: Output at the keyword extractor's queries, (batch, num_queries, dim).
        frames: Output at the frames, (batch, frames, dim); what is at padding means nothing.
    """

    speech: SpeechStates
    queries: Tensor
    frames: Tensor


class KeywordBranch(nn.Module):
    """Cuts speech into slots and replaces each by the nearest sub-word of a vocabulary.

    slots ─ projection ─ batch norm onto the token table's statistics ─ quantizer ─ sub-words

    Args:
        extractor: Makes slots, see :mod:`espnet_plugin.model.keyword_extractor`.
        projection: Maps the attention's dimension to that of CLIP's token embeddings.
        norm: Batch norm of projected slots; with None they are compared as they are.
        quantizer: Module that chooses rows of the table.
        vocabulary: The sub-words to choose from.
        table: Embeddings of these sub-words, (V, token_dim).
        blank: Let segments choose no sub-word, and merge equal neighbours, see
            :mod:`espnet_plugin.model.blank` and
            :func:`espnet_plugin.model.keywords.merge_repeats`. Needs a quantizer that mixes
            sub-words in training.
        trained_keys: Train the vectors that keywords are compared with, see :attr:`keys`.
        align_spans: At inference, move keywords of a CIF extractor to the times of their sub-words,
            see :mod:`espnet_plugin.model.span_alignment`.
        recurrence: At inference, tell by the sound whether a word is said twice in a row, see
            :mod:`espnet_plugin.model.recurrence`; the least recurrence. With None, blanks tell.

    Raises:
        ValueError: If there are blanks, but the quantizer does not mix sub-words.
    """

    extractor: Any
    quantizer: TokenQuantizer
    table: Tensor
    forbidden: Tensor

    def __init__(
        self,
        extractor: nn.Module,
        projection: nn.Module,
        norm: KeywordBatchNorm | None,
        quantizer: TokenQuantizer,
        vocabulary: KeywordVocabulary,
        table: Tensor,
        *,
        blank: bool = False,
        trained_keys: bool = False,
        align_spans: bool = False,
        recurrence: float | None = None,
    ) -> None:
        super().__init__()
        if blank and getattr(quantizer, "hard", True):
            raise ValueError("model_conf.blank needs quantizer_conf.hard: false")
        self.vocabulary = vocabulary
        self.align_spans = align_spans
        self.recurrence = recurrence
        table = table.detach().clone()
        self.register_buffer("table", table, persistent=False)
        forbidden = torch.tensor([row in vocabulary.forbidden for row in vocabulary.ids])
        self.register_buffer("forbidden", forbidden, persistent=False)
        self.key_offsets = nn.Parameter(torch.zeros_like(table)) if trained_keys else None
        self.extractor = extractor
        self.projection = projection
        self.norm = norm
        self.quantizer = quantizer
        self.blank = Blank(table.size(1)) if blank else None

    @property
    def num_queries(self) -> int:
        """Number of query vectors that the attention block sees for the keywords."""
        return self.extractor.num_queries

    @property
    def queries(self) -> Tensor | None:
        """Query vectors that the attention block sees for the keywords, (num_queries, dim)."""
        return self.extractor.queries if self.extractor.num_queries else None

    @property
    def keys(self) -> Tensor:
        """What keywords are compared with, (V, token_dim): the token table, or vectors that
        training moves away from its normalised rows.

        CLIP's rows are alike where meanings are; with keys of its own a sub-word lies where its
        sound does. The text tower reads the table in any case.
        """
        if self.key_offsets is None:
            return self.table
        return F.normalize(self.table.float(), dim=-1, eps=1e-8) + self.key_offsets

    def forward(
        self,
        parts: Sequence[MixedSpeech],
        *,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> Keywords:
        """Finds the keywords of a batch.

        Args:
            parts: The whole batch, or its parts in order.
            target_lengths: Wanted number of keywords, (batch,); used in training mode only.
            step: Number of optimiser updates done, for schedules.
        """
        slots = self._slots(parts, target_lengths if self.training else None, step)
        keywords = self._quantize(slots, step)
        if self.blank is not None:
            keywords = self._without_blanks(keywords, [part.speech for part in parts], step)
        if self.align_spans and not self.training:
            keywords = self._aligned(keywords, parts)
        return keywords

    def _slots(
        self, parts: Sequence[MixedSpeech], target_lengths: Tensor | None, step: int | None
    ) -> Slots:
        """The slots of each part, as one batch."""
        sizes = [len(part.speech.lengths) for part in parts]
        targets = [None] * len(sizes) if target_lengths is None else target_lengths.split(sizes)
        slots = [
            self.extractor(
                part.queries, part.frames, part.speech.lengths, target_lengths=wanted, step=step
            )
            for part, wanted in zip(parts, targets, strict=True)
        ]
        return join_slots(slots, self.extractor.num_slots)

    def _embed(self, vectors: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Makes token embeddings of the attention's vectors, before and after the norm."""
        projected = self.projection(vectors)  # (batch, vectors, token_dim)
        return projected, projected if self.norm is None else self.norm(projected, lengths)

    def _quantize(self, slots: Slots, step: int | None) -> Keywords:
        projected, embeddings = self._embed(slots.embeddings, slots.lengths)
        quantized = self.quantizer(
            embeddings,
            self.table,
            keys=self.keys,
            lengths=slots.lengths,
            forbidden=self.forbidden if self.vocabulary.forbidden else None,
            step=step,
        )
        return Keywords(
            slots.embeddings, slots.lengths, projected, embeddings, quantized, slots.cif
        )

    def _without_blanks(
        self, keywords: Keywords, speech: Sequence[SpeechStates], step: int | None
    ) -> Keywords:
        """Decides which segments are blank or repeats; in training, how likely that is."""
        assert self.blank is not None
        temperature = self.quantizer.current_temperature  # blanks sharpen as sub-words do
        blank = self.blank(keywords.embeddings, temperature(step) / temperature(0))
        quantized = keywords.quantized
        shares = quantized.probabilities
        if shares is None:
            chosen = choose_blanks(blank, keywords.lengths)
            return merge_repeats(keywords, chosen, speech, recurrence=self.recurrence)
        with torch.autocast(blank.device.type, enabled=False):
            reading = expected_reading(shares, self.table, blank, keywords.lengths)
        read = replace(quantized, embeddings=reading.embeddings)
        return replace(keywords, quantized=read, reading=reading)

    def _aligned(self, keywords: Keywords, parts: Sequence[MixedSpeech]) -> Keywords:
        """The same keywords at the times of their sub-words; only CIF's have times."""
        if keywords.cif is None:
            return keywords
        speech = [part.speech for part in parts]
        agreement = self._agreement(join_padded([part.frames for part in parts]), keywords)
        change = join_padded([state_change(part.hidden_states, part.lengths) for part in speech])
        lengths = torch.cat([part.lengths for part in speech])  # (batch,)
        rows = keywords.quantized.rows
        cif = aligned_segments(keywords.cif, agreement, change, lengths, rows)
        return replace(keywords, cif=cif)

    def _agreement(self, frames: Tensor, keywords: Keywords) -> Tensor:
        """Cosine of each frame with each keyword's sub-word, (batch, keywords, frames)."""
        _, embeddings = self._embed(frames)  # (batch, frames, token_dim)
        chosen = F.normalize(self.keys[keywords.quantized.rows].float(), dim=-1, eps=1e-8)
        return chosen @ F.normalize(embeddings.float(), dim=-1, eps=1e-8).transpose(1, 2)
