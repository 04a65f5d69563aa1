from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.data.dataset import SpeechCLIPDataset, UnusableUtteranceError
from espnet_plugin.train.preprocessor import SpeechCLIPPreprocessor


def dataset(path: Path) -> SpeechCLIPDataset:
    scp = path.parent / "wav.scp"
    scp.write_text(f"utt {path}\n")
    return SpeechCLIPDataset(
        [(str(scp), "speech", "sound")], preprocess=SpeechCLIPPreprocessor(True)
    )


def test_good_audio_passes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 16000)
    assert dataset(tmp_path / "a.wav")["utt"][1]["speech"].shape == (10,)


def test_errors_name_utterance_file_and_cause(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(10), 8000)
    soundfile.write(tmp_path / "stereo.wav", np.zeros((10, 2)), 16000)
    (tmp_path / "junk.wav").write_bytes(b"no audio")
    for name, cause in (
        ("empty", "0 samples"),
        ("slow", "8000 Hz"),
        ("stereo", "channels: 2, but mono"),
        ("junk", "junk.wav"),
        ("absent", "absent.wav"),
    ):
        with pytest.raises(UnusableUtteranceError, match=cause) as caught:
            dataset(tmp_path / f"{name}.wav")["utt"]
        assert f"{name}.wav" in str(caught.value)
        assert "Utterance utt" in str(caught.value)
