"""The dataset, which ESPnet3 finds by the name in ``data_src``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet3.components.data.base_dataset import BaseDataset
from espnet3.contract import Field

from espnet_plugin.data.dataset import SpeechCLIPDataset
from espnet_plugin.data.sampler_files import read_image_ids, read_lengths
from espnet_plugin.data.scp import read_scp
from espnet_plugin.model.factory import build_speech_encoder
from espnet_plugin.tasks.records import require_own_states
from espnet_plugin.tasks.speechclip import SpeechCLIPTask
from espnet_plugin.tasks.speechclip_options import DEFAULT_ENCODER, crop_frames

# the task's options that this module and the preprocessor read
DEFAULTS = {
    "speech_encoder": "huggingface",
    "speech_encoder_conf": DEFAULT_ENCODER,
    "clip_conf": {},
    "keyword_extractor_conf": {},
    "crop_seconds": None,
}


def listed_data(directory: Path, *, stored_states: bool) -> list[tuple[str, str, str]]:
    """Path, name and type of a set's data, as ESPnet2's options have them."""
    speech = ("speech_states", "frames") if stored_states else ("speech", "sound")
    files = {
        "speech_states.scp" if stored_states else "wav.scp": speech,
        "image_feat.scp": ("image", "npy"),
        "utt2image_id": ("image_id", "text_int"),
    }
    if (directory / "text").exists():
        files["text"] = ("text", "text")
    return [(str(directory / file), *entry) for file, entry in files.items()]


class Dataset(BaseDataset):
    """A formatted set, which is read as under ESPnet2.

    Items are found by utterance id only. ESPnet3 would treat a numeric id as a position.

    Args:
        directory: ``dump/raw/<set>``, which the recipe's stages 3 to 6 write.
        train: Whether to crop long speech, as in training.
        stored_states: Whether to read the speech encoder's hidden states instead of recordings.
        model: The ``model`` section of the training configuration; optional if no item is read.

    Raises:
        DataError: If hidden states come from another speech encoder or normalisation than
            ``model`` has, or from recordings that changed.
        ValueError: If hidden states are cropped to less than a frame.
    """

    fields = (Field("speech", "audio", optional=True),)

    def __init__(
        self,
        directory: str | Path,
        *,
        train: bool = False,
        stored_states: bool = False,
        model: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = Path(directory)
        options = {**DEFAULTS, **(model or {})}
        args = Namespace(**options)
        if train and stored_states and args.crop_seconds is not None:
            args.crop_frames = crop_frames(args, build_speech_encoder(options), stored=True)
        self.data = listed_data(self.directory, stored_states=stored_states)
        if stored_states and model is not None:
            require_own_states(self.data[0][0], options)
        self._keys = list(read_scp(self.data[0][0]))
        self._items = SpeechCLIPDataset(
            self.data, preprocess=SpeechCLIPTask.build_preprocess_fn(args, train)
        )

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, key: str) -> dict[str, Any]:
        if not isinstance(key, str):
            raise TypeError(f"items are found by utterance id, not by {type(key).__name__}")
        return self._items[key][1]

    def keys(self) -> list[str]:
        """Utterances in the order of the speech list."""
        return self._keys

    def lengths(self) -> dict[str, int]:
        """Number of samples of each utterance."""
        return read_lengths([str(self.directory / "utt2num_samples")], self._keys)

    def image_ids(self) -> dict[str, str]:
        """Number of each utterance's image."""
        return read_image_ids(self.data, self._keys)
