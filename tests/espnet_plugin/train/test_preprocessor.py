from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.train.preprocessor import SpeechCLIPPreprocessor


@pytest.mark.parametrize(
    "speech, message",
    [
        (np.zeros(0, np.float32), "empty"),
        (np.full(4, np.nan, np.float32), "NaN"),
        (np.zeros((4, 2), np.float32), "2 channels"),
    ],
)
def test_bad_speech_is_refused(speech: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpeechCLIPPreprocessor(True)("u", {"speech": speech})


def test_bad_states_are_refused() -> None:
    preprocessor = SpeechCLIPPreprocessor(True)
    with pytest.raises(ValueError, match="shape"):
        preprocessor("u", {"speech_states": np.zeros((0, 3, 4), np.float16)})
    with pytest.raises(ValueError, match="NaN"):
        preprocessor("u", {"speech_states": np.full((1, 3, 4), np.inf, np.float16)})


def test_captions_become_subwords_without_special_tokens(tiny_corpus) -> None:
    preprocessor = SpeechCLIPPreprocessor(True, clip_conf={"model": str(tiny_corpus.clip_model)})
    data = preprocessor("u", {"text": "a red dog", "image": np.zeros(3, np.float32)})
    assert data["text"].tolist() == [320, 736, 1929]
    assert data["image"].shape == (3,)
    with pytest.raises(ValueError, match="no sub-word"):
        preprocessor("u", {"text": " "})


def test_captions_that_nobody_needs_are_left_out_unread() -> None:
    data = SpeechCLIPPreprocessor(True, captions=False)("u", {"text": "a red dog"})
    assert data == {}


def test_picture_files_become_clips_pixels(tiny_corpus) -> None:
    from PIL import Image

    conf = {"model": str(tiny_corpus.clip_model)}
    path = tiny_corpus.data / "img0.png"
    pixels = SpeechCLIPPreprocessor(True, clip_conf=conf)("u", {"image": str(path)})["image"]
    clip = FrozenCLIP(**conf, text_tower=False)
    assert np.array_equal(pixels, clip.preprocess(Image.open(path)).numpy())


def test_crop_takes_a_random_stretch_in_training_only_of_what_is_longer() -> None:
    preprocessor = SpeechCLIPPreprocessor(True, crop_seconds=0.1)
    speech = np.arange(4000, dtype=np.float32)
    states = np.arange(20, dtype=np.float32)[:, None, None]
    np.random.seed(0)
    starts = set()
    for _ in range(20):
        data = preprocessor("u", {"speech": speech, "speech_states": states})
        assert np.array_equal(data["speech"], data["speech"][0] + np.arange(1600))
        assert data["speech_states"].shape == (4, 1, 1)  # (1600 - 400) // 320 + 1 frames
        starts.add(float(data["speech"][0]))
    assert len(starts) > 10
    assert len(preprocessor("u", {"speech": speech[:1000]})["speech"]) == 1000
    with pytest.raises(ValueError, match="shorter than one frame"):
        SpeechCLIPPreprocessor(True, crop_seconds=0.01)
