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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from espnet_plugin.model.attention import Block, BlockOutput
from espnet_plugin.model.keyword_branch import KeywordBranch, MixedSpeech
from espnet_plugin.model.keywords import Keywords
from espnet_plugin.model.layer_weighting import LayerWeighting
from espnet_plugin.model.output import SpeechOutput
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_batch import waveform_batch
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder, SpeechStates
from espnet_plugin.utils.compatibility import ReferenceCompatibility
from espnet_plugin.utils.padding import mask_spans, padding_mask, zero_padding

LONGEST_TIME_MASK = 16  # frames


class SpeechCLIPModel(nn.Module):
    """Bridges speech and text through images.

    A frozen speech encoder and a frozen CLIP are joined by a trained part. Build it with
    :func:`espnet_plugin.model.factory.build_speechclip`.

    Args:
        speech_encoder: The speech encoder, frozen but for the parts that it trains.
        layer_weighting: Learned weights over the encoder's hidden states.
        attention: Attention block over query vectors and frames.
        clip: The frozen CLIP.
        parallel_query: Query vector of the parallel branch, (1, dim), or None without that branch.
        parallel_projection: Maps the attention's output at this query to CLIP's space.
        keyword_branch: Cascaded branch up to the text tower, or None without that branch.
        time_masks: Spans of at most 16 frames that training sets to zero, see
            :func:`espnet_plugin.utils.padding.mask_spans`.
        compatibility: Defects of the original to reproduce.

    Raises:
        ValueError: If there is neither a parallel nor a cascaded branch.
    """

    frozen_prefixes = ("speech_encoder.", "clip.")  # of the state dict's keys
    attention: Block

    def __init__(
        self,
        speech_encoder: FrozenSpeechEncoder,
        layer_weighting: LayerWeighting,
        attention: nn.Module,
        clip: FrozenCLIP,
        parallel_query: Tensor | None,
        parallel_projection: nn.Module | None,
        keyword_branch: KeywordBranch | None,
        *,
        time_masks: int = 0,
        compatibility: ReferenceCompatibility | None = None,
    ) -> None:
        super().__init__()
        if parallel_projection is None and keyword_branch is None:
            raise ValueError("a model needs model_conf.parallel, a keyword_extractor, or both")
        self.compatibility = compatibility or ReferenceCompatibility()
        self.time_masks = time_masks
        self.speech_encoder = speech_encoder
        self.layer_weighting = layer_weighting
        self.attention = attention
        self.clip = clip
        self.parallel_projection = parallel_projection
        self.parallel_query = None if parallel_query is None else nn.Parameter(parallel_query)
        self.keyword_branch = keyword_branch

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
        blocks = [self.run_block(part) for part in parts]
        parallel = self.embed_parallel(blocks)
        keywords = cascaded = None
        if self.keyword_branch is not None:
            mixed = [self._for_keywords(*each) for each in zip(parts, blocks, strict=True)]
            keywords = self.keyword_branch(mixed, target_lengths=target_lengths, step=step)
            cascaded = self._embed_keywords(keywords)
        lengths = torch.cat([part.lengths for part in parts])  # (batch,)
        at_frames = self._at_frames(blocks[0], lengths) if len(parts) == 1 else ()
        return SpeechOutput(at_frames, lengths, parallel, cascaded, keywords)

    @property
    def num_queries(self) -> int:
        """Number of query positions before the frames in the attention block."""
        keyword_queries = 0 if self.keyword_branch is None else self.keyword_branch.num_queries
        return int(self.parallel_query is not None) + keyword_queries

    def run_block(self, states: SpeechStates) -> BlockOutput:
        """The attention block's output for queries and frames."""
        frames = self.layer_weighting(states.hidden_states)  # (batch, frames, dim)
        if not self.compatibility.convolve_padding:
            frames = zero_padding(frames, states.lengths)
        if self.training and self.time_masks:
            number, longest = self.time_masks, LONGEST_TIME_MASK
            frames = mask_spans(frames, states.lengths, number=number, longest=longest)
        keyword_queries = None if self.keyword_branch is None else self.keyword_branch.queries
        queries = [q for q in (self.parallel_query, keyword_queries) if q is not None]
        mask = padding_mask(states.lengths, frames.size(1))
        if queries:
            positions = torch.cat(queries)[None].expand(len(frames), -1, -1)
            frames = torch.cat([positions, frames], dim=1)  # (batch, queries + frames, dim)
            mask = F.pad(mask, (self.num_queries, 0), value=False)
        return self.attention(frames, mask, num_queries=self.num_queries)

    def embed_parallel(self, blocks: Sequence[BlockOutput]) -> Tensor | None:
        """Computes ``SpeechOutput.parallel`` from the attention's outputs for a batch's parts."""
        if self.parallel_projection is None:
            return None
        queries = torch.cat([block.output[:, 0] for block in blocks])  # (batch, dim)
        return F.normalize(self.parallel_projection(queries).float(), dim=-1)

    def _for_keywords(self, states: SpeechStates, block: BlockOutput) -> MixedSpeech:
        first, end = int(self.parallel_query is not None), self.num_queries
        return MixedSpeech(states, block.output[:, first:end], block.output[:, end:])

    def _embed_keywords(self, keywords: Keywords) -> Tensor | None:
        """Computes ``SpeechOutput.cascaded``, or gives None without a text tower."""
        if not self.clip.takes_soft_tokens:
            return None
        return self.clip.encode_soft_tokens(
            keywords.quantized.embeddings,
            keywords.lengths,
            kept=keywords.reading.kept if keywords.reading is not None else None,
        )

    def _at_frames(self, block: BlockOutput, lengths: Tensor) -> tuple[Tensor, ...]:
        # each (batch, queries + frames, dim) to (batch, frames, dim)
        return tuple(zero_padding(layer[:, self.num_queries :], lengths) for layer in block.layers)

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
            speech, speech_lengths: Speech and number of samples of each utterance, in a form that
                :func:`espnet_plugin.teachers.speech_batch.waveform_batch` takes.
            sampling_rate: Sampling rate of ``speech`` in Hz. It is checked; nothing is resampled.

        Raises:
            ValueError: If the sampling rate is not the encoder's, or shapes do not fit.
        """
        rate = self.speech_encoder.sampling_rate
        if sampling_rate not in (None, rate):
            raise ValueError(
                f"speech has {sampling_rate} Hz, the speech encoder needs {rate} Hz: resample it, "
                "or use SpeechCLIP, which does"
            )
        weights = self.layer_weighting.weights
        batch = waveform_batch(speech, speech_lengths).to(weights.device, weights.dtype)
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                return self(self.speech_encoder.hidden_states(batch))
        finally:
            self.train(was_training)

    @property
    def trained_in_encoder(self) -> list[str]:
        """Keys of the state dict that belong to the trained parts of the speech encoder."""
        return [f"speech_encoder.{name}" for name in self.speech_encoder.trained_names]

    def trained_of(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The part of a state dict that is trained, and saved with the model."""
        kept = set(self.trained_in_encoder)
        return {
            key: value
            for key, value in weights.items()
            if key in kept or not key.startswith(self.frozen_prefixes)
        }
