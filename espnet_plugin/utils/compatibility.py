"""What restores behaviour of the original SpeechCLIP+ code which we consider a defect.

Everything is off by default. Only the converter of released checkpoints and the parity tests switch
on what they need. ``tests/parity/README.md`` lists each defect with the fixtures that show it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from espnet_plugin.utils.options import check_options

if TYPE_CHECKING:
    from torch import Tensor

FRAME_LENGTH_RULES = ("exact", "rounded")  # the latter is the original's


@dataclass(frozen=True)
class ReferenceCompatibility:
    """Which defects of the original to reproduce.

    Attributes:
        convolve_padding: Let CIF's convolution see the padded frames. The last weights of an
            utterance then depend on its batch.
        keep_leftovers: Keep the partial sum after an utterance's last keyword; it enters the batch
            norm's statistics.
        norm_over_padding: Compute the keyword batch norm's statistics over the padded slots too.
        permuted_norm_init: Initialise a per-slot batch norm in slot-major order although its
            channels are dim-major.
    """

    convolve_padding: bool = False
    keep_leftovers: bool = False
    norm_over_padding: bool = False
    permuted_norm_init: bool = False

    @classmethod
    def all(cls) -> ReferenceCompatibility:
        """Every switch on: what the original computes."""
        return cls(**{field.name: True for field in fields(cls)})

    @classmethod
    def from_config(
        cls, config: dict[str, Any] | ReferenceCompatibility | None
    ) -> ReferenceCompatibility:
        """Reads a mapping of switches, as stored in a converted checkpoint's configuration.

        Raises:
            ValueError: If the mapping names an unknown switch.
        """
        if isinstance(config, ReferenceCompatibility):
            return config
        check_options("model_conf.compatibility", config or {}, [x.name for x in fields(cls)])
        return cls(**(config or {}))


def rounded_frame_lengths(sample_lengths: Tensor, frames: int, *, stride: int) -> Tensor:
    """Frame lengths as the original counts them: samples over stride, rounded half to even.

    They are at most the batch's frames. Equal to the exact lengths for an utterance alone; in a
    batch, mostly one frame too many.

    Args:
        sample_lengths: Number of samples, (batch,).
        frames: Number of frames of the padded batch.
        stride: Number of samples per frame.
    """
    return (sample_lengths.double() / stride).round().long().clamp(max=frames)
