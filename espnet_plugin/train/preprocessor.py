"""Prepares an utterance for a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from espnet2.train.preprocessor import AbsPreprocessor

from espnet_plugin.data.image_embedding import checked_embedding
from espnet_plugin.media.audio import checked_speech
from espnet_plugin.media.images import read_image
from espnet_plugin.teachers.clip_config import image_transform, load_bpe, read_clip_config
from espnet_plugin.teachers.waveforms import normalize_waveforms
from espnet_plugin.utils.samples import float_speech


class SpeechCLIPPreprocessor(AbsPreprocessor):
    """Checks the speech, decodes images and turns captions into sub-word ids.

    The tokenizer and the image transform are built for the first caption or image file, in the
    process that needs them.

    Args:
        train: Whether the data is for training.
        clip_conf: Configuration of CLIP, for its tokenizer and image size.
        check: Whether to refuse speech and embeddings that are empty or not finite.
        normalize: Whether to give the waveform zero mean and unit variance before it is cropped.
        crop_samples: Longest speech in samples. Longer speech is cut to a random stretch of this
            length; with None it stays whole.
        crop_frames: The same limit for stored hidden states, in frames.
        captions: Whether to keep captions as sub-word ids; only their number is used.
    """

    def __init__(
        self,
        train: bool,
        *,
        clip_conf: dict[str, Any] | None = None,
        check: bool = True,
        normalize: bool = False,
        crop_samples: int | None = None,
        crop_frames: int | None = None,
        captions: bool = True,
    ) -> None:
        super().__init__(train)
        self.check = check
        self.normalize = normalize
        self.crop_samples = crop_samples
        self.crop_frames = crop_frames
        self.captions = captions
        self.clip_conf = dict(clip_conf or {})
        self._tokenizer: Any = None
        self._image_transform: Any = None

    def __call__(self, uid: str, data: dict[str, Any]) -> dict[str, np.ndarray]:
        """Prepares one utterance.

        Args:
            uid: Id of the utterance.
            data: The utterance's entries: ``speech`` (samples,), floating point or integers,
                ``speech_states`` (the first frame and the one after the last), ``image`` (an
                embedding, or the path of an image), ``image_id``, ``text`` (a caption).

        Returns:
            The same entries as arrays: an image as pixels (3, height, width), a caption as ids.

        Raises:
            ValueError: If the speech is empty, not mono or not finite, or the embedding not finite.
        """
        data = dict(data)
        if "speech" in data:
            data["speech"] = float_speech(data["speech"])
            if self.check:
                data["speech"] = checked_speech(data["speech"])
        if self.normalize and "speech" in data:
            data["speech"] = normalized(data["speech"])
        if self.crop_samples and "speech" in data:
            data["speech"] = random_stretch(data["speech"], self.crop_samples)
        if self.crop_frames and "speech_states" in data:
            frames = random_stretch(np.arange(*data["speech_states"]), self.crop_frames)
            data["speech_states"] = frames[[0, -1]] + [0, 1]
        if isinstance(data.get("image"), str):
            data["image"] = self._pixels(data["image"])
        elif self.check and "image" in data:
            data["image"] = checked_embedding(data["image"])
        if not self.captions:
            data.pop("text", None)
        if isinstance(data.get("text"), str):
            data["text"] = self._subwords(data["text"])
        return data

    def _subwords(self, caption: str) -> np.ndarray:
        if self._tokenizer is None:
            self._tokenizer = load_bpe(str(self.clip_conf.get("model")))
        ids = self._tokenizer.encode(caption)
        if not ids:
            raise ValueError(f"the caption {caption!r} has no sub-word")
        return np.asarray(ids, dtype=np.int64)

    def _pixels(self, path: str) -> np.ndarray:
        if self._image_transform is None:
            config = read_clip_config(str(self.clip_conf.get("model")))
            self._image_transform = image_transform(config, self.clip_conf.get("pretrained"))
        return self._image_transform(read_image(path)).numpy()  # (3, height, width)


def normalized(speech: np.ndarray) -> np.ndarray:
    """Speech (samples,) with zero mean and unit variance, as a speech encoder normalises it."""
    waveform = torch.from_numpy(speech)[None]  # (1, samples)
    return normalize_waveforms(waveform, torch.tensor([len(speech)]))[0].numpy()


def random_stretch(values: np.ndarray, length: int) -> np.ndarray:
    """At most ``length`` consecutive items from a random place, (length, ...)."""
    if len(values) <= length:
        return values
    # NumPy's global state: epoch_seeds seeds it in data workers, the trainer in its own process
    start = np.random.randint(len(values) - length + 1)
    return values[start : start + length]
