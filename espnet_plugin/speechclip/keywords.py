"""What the cascaded branch finds in a batch of speech."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from espnet_plugin.speechclip.cif import CifOutput
from espnet_plugin.speechclip.quantizer import QuantizerOutput


@dataclass(frozen=True)
class Keywords:
    """The keywords of a batch, from slots of frames to sub-words.

    Attributes:
        slots: Before projection, (batch, slots, dim).
        lengths: Number of keywords, (batch,).
        projected: After projection, (batch, slots, token_dim).
        embeddings: After the batch norm, if there is one, (batch, slots, token_dim); what is
            compared with the token table.
        quantized: The chosen sub-words.
        cif: Weights and time spans, when the extractor segments the speech.
    """

    slots: Tensor
    lengths: Tensor
    projected: Tensor
    embeddings: Tensor
    quantized: QuantizerOutput
    cif: CifOutput | None
