"""What the model gives for a batch of speech."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from espnet_plugin.model.keywords import Keywords


@dataclass(frozen=True)
class SpeechOutput:
    """Output of the model for a batch of speech.

    Attributes:
        states: Outputs of the attention block's layers at the frames, zero at padding, (batch,
            frames, dim) each. A downstream task can use them beside the encoder's hidden states.
            Empty for a batch in parts.
        lengths: Number of frames, (batch,).
        parallel: Embedding of the parallel branch, L2-normalised, (batch, embedding_dim).
        cascaded: Embedding of the keywords through CLIP's text tower, L2-normalised, (batch,
            embedding_dim).
        keywords: Keywords of the cascaded branch.
    """

    states: tuple[Tensor, ...]
    lengths: Tensor
    parallel: Tensor | None
    cascaded: Tensor | None
    keywords: Keywords | None
