from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.data.inference_set import read_frame_seconds, read_inference_set
from espnet_plugin.evaluation.scores.retrieval import score_retrieval_directory


def test_reads_what_is_there(inference_dir):
    (inference_dir / "test" / "speech_cascaded.npy").unlink()
    data = read_inference_set(inference_dir / "test")
    assert list(data.branches) == ["parallel"]
    assert data.image_of[:3] == ("i0", "i0", "i1")
    assert data.text.shape == (12, 8)


def test_frame_length_is_what_inference_wrote(inference_dir):
    path = inference_dir / "test" / "frame_seconds.txt"
    path.write_text("0.01\n")
    assert read_frame_seconds(path.parent) == 0.01
    path.write_text("20 ms\n")
    with pytest.raises(ValueError, match="no number of seconds .*20 ms"):
        read_frame_seconds(path.parent)
    path.unlink()
    with pytest.raises(ValueError, match="run inference again"):
        read_frame_seconds(path.parent)


def test_nan_names_file_and_row(inference_dir):
    path = inference_dir / "test" / "speech_parallel.npy"
    values = np.load(path)
    values[4, 1] = np.inf
    np.save(path, values)
    message = r"speech_parallel.npy: NaN or infinity in row 4 \(line 5 of utterances.txt\)"
    with pytest.raises(ValueError, match=message):
        read_inference_set(inference_dir / "test")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("utt2image", "i0_0 i0\n", ValueError, "utt2image: 6, the first is ''"),
        ("images.txt", "i0\ni1\n", ValueError, "utt2image: 4, the first is 'i2'"),
        ("utt2image", "i0_0 i0\ni0_0 i1\n", ValueError, "utt2image: 'i0_0' is there more than"),
        ("utterances.txt", "i0_0\ni0_0\n", ValueError, "'i0_0' is there more than once"),
        ("utterances.txt", "i0_0\ni1_0\n", ValueError, "utt2image: 4,"),
        ("image.npy", "text", ValueError, "not a readable NumPy array"),
        ("image.npy", None, FileNotFoundError, "run the inference stage"),
        ("utterances.txt", None, FileNotFoundError, "utterances.txt is missing; run the stage"),
    ],
)
def test_bad_directories(inference_dir, name, content, error, message):
    path = inference_dir / "test" / name
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=message):
        read_inference_set(inference_dir / "test")


def test_shape_mismatch(inference_dir):
    np.save(inference_dir / "test" / "text.npy", np.zeros((11, 8), dtype=np.float32))
    with pytest.raises(ValueError, match=r"text.npy: shape \(11, 8\), but utterances.txt has 12"):
        read_inference_set(inference_dir / "test")
    np.save(inference_dir / "test" / "text.npy", np.zeros((12, 9), dtype=np.float32))
    with pytest.raises(ValueError, match="9 dimensions, but image.npy has 8"):
        read_inference_set(inference_dir / "test")


def test_a_set_without_pictures_is_read_and_cannot_be_scored(inference_dir):
    test = inference_dir / "test"
    (test / "image.npy").unlink()
    for name in ("images.txt", "utt2image"):
        (test / name).write_text("")
    data = read_inference_set(test)
    assert data.images == () and data.image.shape == (0, 8) and set(data.image_of) == {""}
    with pytest.raises(ValueError, match="no image was embedded; run inference with"):
        score_retrieval_directory(test)
