from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.search.player import play, wav_part
from espnet_plugin.utils.errors import DataError

PLAYER = """#!/bin/sh
echo "$@" > {folder}/options
exec /bin/cat > {folder}/played.wav
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Two seconds; the second one is louder."""
    samples = np.repeat([0.1, 0.5], 8000)
    soundfile.write(tmp_path / "a.flac", np.stack([samples, samples], axis=1), 8000)
    return str(tmp_path / "a.flac")


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def test_a_part_is_played_by_the_first_player_there_is(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program(tmp_path, "aplay", PLAYER.format(folder=tmp_path))
    play(path, 0.9, 1.25)
    samples, rate = soundfile.read(tmp_path / "played.wav")
    assert rate == 8000
    np.testing.assert_allclose(samples, np.repeat([0.1, 0.5], [800, 2000]), atol=1e-4)
    assert (tmp_path / "options").read_text() == "-q -\n"
    # as without a sound device: SDL does not start, or ffplay ends as if it had played
    for text in ("exit 1", "echo Failed to open file or configure filtergraph >&2"):
        program(tmp_path, "ffplay", f"#!/bin/sh\n{text}\n")
        with pytest.raises(DataError, match="^ffplay could not play .*a.flac; is there a loud"):
            play(path, 0, 1)
        assert capfd.readouterr().err == ""


def test_without_a_player_it_says_what_to_install(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"apt install ffmpeg.*pip install sounddevice"):
        play(path, 0, 1)


def test_a_whole_recording_as_wav(path: str) -> None:
    samples, rate = soundfile.read(io.BytesIO(wav_part(path)))
    assert (len(samples), rate) == (16000, 8000)
