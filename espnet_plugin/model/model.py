"""SpeechCLIP and SpeechCLIP+: one model with two switches.

============ =================== =================
architecture parallel projection keyword extractor
============ =================== =================
parallel     yes                 none
cascaded     no                  cls
cascaded+    no                  cif
hybrid       yes                 cls
hybrid+      yes                 cif
============ =================== =================

Papers: SpeechCLIP (arXiv 2210.00705), SpeechCLIP+ (arXiv 2402.06959).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.attention import BlockOutput
from espnet_plugin.model.blank import Blank, choose_blanks, expected_reading
from espnet_plugin.model.compatibility import ReferenceCompatibility
from espnet_plugin.model.keyword_extractor import KeywordExtractor, Slots, join_slots
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from espnet_plugin.model.keywords import Keywords, merge_repeats
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.model.quantizer import TokenQuantizer
from espnet_plugin.model.span_alignment import aligned_segments, state_change
from espnet_plugin.model.vocabulary import KeywordVocabulary
from espnet_plugin.teachers.backends.waveform import float_samples
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder, SpeechStates
from espnet_plugin.utils.padding import join_padded, mask_spans, padding_mask, zero_padding


@dataclass(frozen=True)
class SpeechOutput:
    """Output of the model for a batch of speech.

    Attributes:
        states: Outputs of the trained block's layers at the frames, zero at padding, (batch,
            frames, dim) each. A downstream task can use them beside the encoder's hidden states.
            Empty for a batch in parts.
        lengths: Number of frames, (batch,).
        parallel: Utterance embedding, L2-normalised, (batch, embedding_dim).
        cascaded: Embedding of the keywords through CLIP's text tower, L2-normalised, (batch,
            embedding_dim).
        keywords: The keywords.
    """

    states: tuple[Tensor, ...]
    lengths: Tensor
    parallel: Tensor | None
    cascaded: Tensor | None
    keywords: Keywords | None


@dataclass(frozen=True)
class KeywordPath:
    """Modules of architectures with keywords, and the vocabulary's table, (V, token_dim)."""

    extractor: KeywordExtractor
    projection: nn.Module
    norm: KeywordBatchNorm | None
    quantizer: TokenQuantizer
    vocabulary: KeywordVocabulary
    table: Tensor


class SpeechCLIPModel(nn.Module):
    """Bridges speech and text through images.

    A frozen speech encoder and a frozen CLIP are joined by a trained block. Build it with
    :func:`espnet_plugin.model.factory.build_speechclip`.

    Args:
        speech_encoder: Frozen, but for what it trains; None where hidden states are always given.
        layer_weighting: Learned weights over the encoder's hidden states.
        attention: Block over query vectors and frames.
        clip: Frozen.
        dim: Size of a frame.
        parallel_projection: From the parallel query to CLIP's space; None: no parallel branch.
        keyword_path: Keyword extractor, projection, norm, quantizer and vocabulary; None: no
            cascaded branch.
        merge_repeats: Make neighbouring keywords of the same sub-word one, see
            :func:`espnet_plugin.model.keywords.merge_repeats`.
        blank: Let segments choose no sub-word, and merge equal neighbours unless such a segment is
            between them, see :mod:`espnet_plugin.model.blank`. Needs a quantizer that mixes
            sub-words in training.
        trained_keys: Train the vectors that keywords are compared with, see :attr:`keys`.
        align_spans: At inference, move keywords of a CIF extractor to the times of their sub-words,
            see :mod:`espnet_plugin.model.span_alignment`.
        time_masks: Spans of the frames that training sets to zero, see
            :func:`espnet_plugin.utils.padding.mask_spans`.
        time_mask_frames: Frames of the longest of these spans.
        compatibility: Defects of the original to reproduce.

    Raises:
        ValueError: If there is neither a parallel nor a cascaded branch.
    """

    frozen_prefixes = ("speech_encoder.", "clip.")  # of the state dict's keys
    token_table: Tensor

    def __init__(
        self,
        *,
        speech_encoder: FrozenSpeechEncoder | None,
        layer_weighting: LayerWeighting,
        attention: nn.Module,
        clip: FrozenCLIP,
        dim: int,
        parallel_projection: nn.Module | None = None,
        keyword_path: KeywordPath | None = None,
        merge_repeats: bool = False,
        blank: bool = False,
        trained_keys: bool = False,
        align_spans: bool = False,
        time_masks: int = 0,
        time_mask_frames: int = 16,
        compatibility: ReferenceCompatibility | None = None,
    ) -> None:
        super().__init__()
        if parallel_projection is None and keyword_path is None:
            raise ValueError("a model needs model_conf.parallel, a keyword_extractor, or both")
        self.compatibility = compatibility or ReferenceCompatibility()
        self.speech_encoder = speech_encoder
        self.layer_weighting = layer_weighting
        self.merge_repeats = merge_repeats
        self.align_spans = align_spans
        self.time_masks = time_masks
        self.time_mask_frames = time_mask_frames
        self.attention: Any = attention
        self.clip = clip
        self.dim = dim
        self.parallel_projection = parallel_projection
        if parallel_projection is not None:
            self.parallel_query = nn.Parameter(torch.randn(1, dim))
        self.vocabulary: KeywordVocabulary | None = None
        self.keyword_extractor: Any = None
        if keyword_path is not None:
            self.vocabulary = keyword_path.vocabulary
            self.keyword_extractor = keyword_path.extractor
            self.keyword_projection = keyword_path.projection
            self.keyword_norm = keyword_path.norm
            self.quantizer = keyword_path.quantizer
            table = keyword_path.table.detach().clone()
            forbidden = torch.tensor(
                [row in self.vocabulary.forbidden for row in self.vocabulary.ids]
            )
            self.blank = Blank(table.size(1)) if blank else None
            if blank and getattr(self.quantizer, "hard", True):
                raise ValueError("model_conf.blank needs quantizer_conf.hard: false")
            self.register_buffer("token_table", table, persistent=False)
            self.key_offsets = nn.Parameter(torch.zeros_like(table)) if trained_keys else None
            self.register_buffer("forbidden_rows", forbidden, persistent=False)
        self.attention.num_queries = self.num_queries  # type: ignore[assignment]

    @property
    def trained_in_encoder(self) -> list[str]:
        """Keys of the state dict of what is trained in the speech encoder."""
        names = getattr(self.speech_encoder, "trained_names", ())
        return [f"speech_encoder.{name}" for name in names]

    def trained_of(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part of a state dict that is trained, and saved with the model."""
        kept = set(self.trained_in_encoder)
        return {
            key: value
            for key, value in weights.items()
            if key in kept or not key.startswith(self.frozen_prefixes)
        }

    @property
    def keys(self) -> Tensor:
        """What keywords are compared with, (V, token_dim): the token table, or vectors that
        training moves away from its normalised rows.

        CLIP's rows are alike where meanings are; with keys of its own a sub-word lies where its
        sound does. The text tower reads the table in any case.
        """
        if self.key_offsets is None:
            return self.token_table
        return F.normalize(self.token_table.float(), dim=-1, eps=1e-8) + self.key_offsets

    @property
    def num_queries(self) -> int:
        """Number of query positions before the frames in the attention block."""
        keyword_queries = (
            self.keyword_extractor.num_queries if self.keyword_extractor is not None else 0
        )
        return int(self.parallel_projection is not None) + keyword_queries

    def target_lengths(
        self, frame_lengths: Tensor, subword_lengths: Tensor | None = None
    ) -> Tensor | None:
        """Wanted number of keywords, (batch,); None when the extractor has no such target."""
        if self.keyword_extractor is None:
            return None
        return self.keyword_extractor.target_lengths(frame_lengths, subword_lengths)

    def forward(
        self,
        *parts: SpeechStates,
        target_lengths: Tensor | None = None,
        step: int | None = None,
    ) -> SpeechOutput:
        """Embeds a batch of hidden states.

        Args:
            *parts: Hidden states of the frozen speech encoder: of the whole batch, or of its parts.
            target_lengths: Wanted number of keywords, (batch,); used in training mode only.
            step: Number of optimiser updates done, for schedules.
        """
        lengths = torch.cat([part.lengths for part in parts])  # (batch,)
        blocks = [self.run_block(part) for part in parts]

        parallel = self.embed_parallel(blocks)
        keywords = cascaded = None
        if self.keyword_extractor is not None:
            slots = self._slots(parts, blocks, target_lengths if self.training else None, step)
            keywords = self._keywords(slots, step)
            if self.align_spans and not self.training:
                keywords = self._aligned(keywords, parts, blocks)
            if self.clip.takes_soft_tokens:
                cascaded = self.clip.encode_soft_tokens(
                    keywords.quantized.embeddings,
                    keywords.lengths,
                    kept=keywords.reading.kept if keywords.reading is not None else None,
                )
        at_frames = self._at_frames(blocks[0], lengths) if len(parts) == 1 else ()
        return SpeechOutput(at_frames, lengths, parallel, cascaded, keywords)

    def embed_parallel(self, blocks: Sequence[BlockOutput]) -> Tensor | None:
        """``SpeechOutput.parallel`` by the outputs of the block for a batch's parts."""
        if self.parallel_projection is None:
            return None
        queries = torch.cat([block.output[:, 0] for block in blocks])  # (batch, dim)
        return F.normalize(self.parallel_projection(queries).float(), dim=-1)

    def block_states(self, states: SpeechStates) -> tuple[Tensor, ...]:
        """``SpeechOutput.states`` without the cost of embeddings and keywords."""
        return self._at_frames(self.run_block(states), states.lengths)

    def encode_speech(
        self,
        speech: Tensor | np.ndarray,
        speech_lengths: Tensor | None = None,
        *,
        sampling_rate: int | None = None,
    ) -> SpeechOutput:
        """Embeds waveforms, without gradients and in eval mode.

        Args:
            speech: Mono at the encoder's sampling rate, in [-1, 1] or integers as in recordings: a
                padded batch (batch, samples), or one utterance (samples,).
            speech_lengths: Number of samples, (batch,); all by default.
            sampling_rate: Of ``speech`` in Hz, which is checked; nothing is resampled here.

        Raises:
            RuntimeError: If the model was built without a speech encoder.
            TypeError: If ``speech`` is neither tensor nor array.
            ValueError: If it has another sampling rate, or shapes do not fit.
        """
        if self.speech_encoder is None:
            raise RuntimeError("this model has no speech encoder; give it hidden states")
        if not isinstance(speech, (Tensor, np.ndarray)):
            raise TypeError(
                f"speech is of type {type(speech).__name__}: encode_speech takes one padded tensor "
                "(batch, samples); SpeechCLIP takes files"
            )
        rate = self.speech_encoder.sampling_rate
        if sampling_rate not in (None, rate):
            raise ValueError(
                f"speech has {sampling_rate} Hz, the speech encoder needs {rate} Hz: resample it, "
                "or use SpeechCLIP, which does"
            )
        weights = self.layer_weighting.weights
        device = weights.device
        speech = float_samples(torch.as_tensor(speech, device=device)).to(weights.dtype)
        speech = speech[None] if speech.dim() == 1 else speech
        if speech_lengths is None:
            speech_lengths = torch.full(speech.shape[:1], speech.shape[-1])
        speech_lengths = torch.as_tensor(speech_lengths, device=device)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                return self(self.speech_encoder(speech, speech_lengths))
        finally:
            self.train(was_training)

    def encode_images(self, images: Tensor) -> Tensor:
        """Embeds preprocessed images, L2-normalised, (batch, embedding_dim)."""
        return self.clip.encode_images(images)

    def encode_texts(self, texts: str | Sequence[str]) -> Tensor:
        """Embeds texts with CLIP's own text tower, L2-normalised, (batch, embedding_dim).

        A string is one text, of a batch of one.
        """
        return self.clip.encode_texts(texts)

    def run_block(self, states: SpeechStates) -> BlockOutput:
        """The trained block's output for queries and frames."""
        return self.attention(*self._positions(states))

    def _positions(self, states: SpeechStates) -> tuple[Tensor, Tensor]:
        """Queries and frames, (batch, queries + frames, dim), and which of them are padding."""
        frames = self.layer_weighting(states.hidden_states)  # (batch, frames, dim)
        if not self.compatibility.convolve_padding:
            frames = zero_padding(frames, states.lengths)
        if self.training and self.time_masks:
            number, longest = self.time_masks, self.time_mask_frames
            frames = mask_spans(frames, states.lengths, number=number, longest=longest)
        queries = self._queries(len(frames))  # (batch, queries, dim)
        mask = padding_mask(states.lengths, frames.size(1))
        mask = F.pad(mask, (queries.size(1), 0), value=False)  # (batch, queries + frames)
        return torch.cat([queries, frames], dim=1), mask

    def _at_frames(self, block: BlockOutput, lengths: Tensor) -> tuple[Tensor, ...]:
        # each (batch, queries + frames, dim) to (batch, frames, dim)
        return tuple(zero_padding(layer[:, self.num_queries :], lengths) for layer in block.layers)

    def _queries(self, batch: int) -> Tensor:
        parts: list[Tensor] = []
        if self.parallel_projection is not None:
            parts.append(self.parallel_query)
        if self.keyword_extractor is not None and self.keyword_extractor.num_queries:
            parts.append(self.keyword_extractor.queries)
        if not parts:
            return self.layer_weighting.weights.new_zeros(batch, 0, self.dim)
        return torch.cat(parts)[None].expand(batch, -1, -1)  # (batch, queries, dim)

    def _slots(
        self,
        parts: Sequence[SpeechStates],
        blocks: Sequence[BlockOutput],
        target_lengths: Tensor | None,
        step: int | None,
    ) -> Slots:
        """The slots of each part, as one batch."""
        keyword_queries = slice(int(self.parallel_projection is not None), self.num_queries)
        sizes = [len(part.lengths) for part in parts]
        targets = [None] * len(sizes) if target_lengths is None else target_lengths.split(sizes)
        slots = [
            self.keyword_extractor(
                block.output[:, keyword_queries],
                block.output[:, self.num_queries :],
                part.lengths,
                target_lengths=wanted,
                step=step,
            )
            for part, block, wanted in zip(parts, blocks, targets, strict=True)
        ]
        return join_slots(slots, self.keyword_extractor.num_slots)

    def _keywords(self, slots: Slots, step: int | None) -> Keywords:
        assert self.vocabulary is not None  # as the extractor
        projected = self.keyword_projection(slots.embeddings)  # (batch, slots, token_dim)
        embeddings = projected
        if self.keyword_norm is not None:
            embeddings = self.keyword_norm(projected, slots.lengths)
        quantized = self.quantizer(
            embeddings,
            self.token_table,
            keys=self.keys,
            lengths=slots.lengths,
            forbidden=self.forbidden_rows if self.vocabulary.forbidden else None,
            step=step,
        )
        keywords = Keywords(
            slots.embeddings, slots.lengths, projected, embeddings, quantized, slots.cif
        )
        if self.blank is not None:
            current = self.quantizer.current_temperature  # blanks sharpen as sub-words do
            return self._read(keywords, self.blank(embeddings, current(step) / current(0)))
        if self.merge_repeats:
            keywords = merge_repeats(keywords)
        return keywords

    def _read(self, keywords: Keywords, blank: Tensor) -> Keywords:
        """Decides which segments (batch, slots) are blank or repeats; in training, how likely."""
        quantized = keywords.quantized
        shares = quantized.probabilities
        if shares is None:
            return merge_repeats(keywords, choose_blanks(blank, keywords.lengths))
        with torch.autocast(blank.device.type, enabled=False):
            reading = expected_reading(shares, self.token_table, blank, keywords.lengths)
        read = replace(quantized, embeddings=reading.embeddings)
        return replace(keywords, quantized=read, reading=reading)

    def _aligned(
        self, keywords: Keywords, parts: Sequence[SpeechStates], blocks: Sequence[BlockOutput]
    ) -> Keywords:
        """The same keywords at the times of their sub-words; only CIF's have times."""
        if keywords.cif is None:
            return keywords
        frames = join_padded([block.output[:, self.num_queries :] for block in blocks])
        change = join_padded([state_change(part.hidden_states, part.lengths) for part in parts])
        lengths = torch.cat([part.lengths for part in parts])  # (batch,)
        cif = aligned_segments(keywords.cif, self._agreement(frames, keywords), change, lengths)
        return replace(keywords, cif=cif)

    def _agreement(self, frames: Tensor, keywords: Keywords) -> Tensor:
        """Cosine of each frame with each keyword's sub-word, (batch, keywords, frames)."""
        embeddings = self.keyword_projection(frames)  # (batch, frames, token_dim)
        if self.keyword_norm is not None:
            embeddings = self.keyword_norm(embeddings)
        chosen = F.normalize(self.keys[keywords.quantized.rows].float(), dim=-1, eps=1e-8)
        return chosen @ F.normalize(embeddings.float(), dim=-1, eps=1e-8).transpose(1, 2)
