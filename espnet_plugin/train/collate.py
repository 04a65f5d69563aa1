"""Batches as the model takes them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from espnet2.train.collate_fn import CommonCollateFn

from espnet_plugin.teachers.speech_batch import loaded_batch

WITHOUT_LENGTH = ("image", "image_id", "speech_states_dimensions")


class SpeechCollate(CommonCollateFn):
    """ESPnet's collate function, with a batch's speech as one ``SpeechBatch``.

    Args:
        normalized: Whether the preprocessor normalised the waveforms.
    """

    def __init__(self, *, normalized: bool = False) -> None:
        super().__init__(
            float_pad_value=0.0,
            int_pad_value=-1,
            not_sequence=WITHOUT_LENGTH,
        )
        self.normalized = normalized

    def __call__(
        self, data: Collection[tuple[str, dict[str, np.ndarray]]]
    ) -> tuple[list[str], dict[str, Any]]:
        """Utterance ids, and the utterances' data as padded tensors."""
        utterances, tensors = super().__call__(data)
        batch = {name: value for name, value in tensors.items() if not name.startswith("speech")}
        return utterances, {**batch, "speech": loaded_batch(tensors, normalized=self.normalized)}
