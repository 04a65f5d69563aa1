"""Switches that restore behaviour of the original SpeechCLIP+ code which we consider a defect.

Everything is off by default. Only the converter of released checkpoints and the parity tests switch
on what they need. ``docs/parity.md`` lists each defect with the fixtures that show it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from espnet_plugin.utils.options import check_options


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
