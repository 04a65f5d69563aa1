from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.train.preprocessor import SpeechCLIPPreprocessor, random_stretch


@pytest.mark.parametrize(
    "speech, message",
    [
        (np.zeros(0, np.float32), "empty"),
        (np.full(4, np.nan, np.float32), "NaN"),
        (np.zeros((4, 2), np.float32), "channels: 2"),
    ],
)
def test_bad_speech_is_refused(speech: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpeechCLIPPreprocessor(True)("u", {"speech": speech})


@pytest.mark.parametrize("check", [True, False])
def test_integer_samples_are_divided_by_their_range(check: bool) -> None:
    speech = np.array([-32768, 0, 16384], np.int16)
    data = SpeechCLIPPreprocessor(True, check=check)("u", {"speech": speech})
    assert data["speech"].tolist() == [-1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "embedding", [np.array([1.0, np.nan]), np.array([np.inf, 0.0]), np.ones((1, 2))]
)
def test_bad_image_embeddings_are_refused(embedding: np.ndarray) -> None:
    data = {"speech": np.ones(400, np.float32), "image": embedding.astype(np.float32)}
    with pytest.raises(ValueError, match="is not a vector or holds NaN or infinite"):
        SpeechCLIPPreprocessor(True)("u", data)


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
    preprocessor = SpeechCLIPPreprocessor(True, crop_samples=1600, crop_frames=4)
    speech = np.arange(4000, dtype=np.float32)
    states = np.array([0, 20])  # which frames there are
    np.random.seed(0)
    starts, firsts = set(), set()
    for _ in range(20):
        data = preprocessor("u", {"speech": speech, "speech_states": states})
        assert np.array_equal(data["speech"], data["speech"][0] + np.arange(1600))
        first, end = data["speech_states"]
        assert end == first + 4
        starts.add(float(data["speech"][0]))
        firsts.add(first)
    assert len(starts) > 10
    assert len(firsts) > 8 and min(firsts) >= 0 and max(firsts) <= 16
    assert preprocessor("u", {"speech_states": np.array([0, 3])})["speech_states"].tolist() == [
        0,
        3,
    ]
    assert len(preprocessor("u", {"speech": speech[:1000]})["speech"]) == 1000


def test_whole_waveform_is_normalised_before_the_crop() -> None:
    speech = np.array([1, 1, 1, 1, 3, 3, 3, 3], np.float32)  # mean 2, variance 1
    whole = SpeechCLIPPreprocessor(False, normalize=True)("u", {"speech": speech})["speech"]
    assert np.allclose(whole, [-1, -1, -1, -1, 1, 1, 1, 1], atol=1e-5)
    assert whole.dtype == np.float32
    preprocessor = SpeechCLIPPreprocessor(True, normalize=True, crop_samples=3)
    np.random.seed(0)
    stretches = {
        tuple(preprocessor("u", {"speech": speech})["speech"].round(4)) for _ in range(100)
    }
    assert stretches == {(-1, -1, -1), (-1, -1, 1), (-1, 1, 1), (1, 1, 1)}


def test_a_stretch_may_be_the_last_one() -> None:
    drawn = {tuple(random_stretch(np.arange(4), 3)) for _ in range(60)}
    assert drawn == {(0, 1, 2), (1, 2, 3)}
