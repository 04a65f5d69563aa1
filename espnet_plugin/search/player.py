"""Play a part of a recording."""

from __future__ import annotations

import io
import math
import shutil
import subprocess

import numpy as np

from espnet_plugin.media.audio import read_header, read_mono
from espnet_plugin.utils.errors import DataError

PLAYERS = {"ffplay": ("-nodisp", "-autoexit", "-loglevel", "error"), "aplay": ("-q",)}


def wav_part(path: str, start: float = 0.0, end: float = math.inf) -> bytes:
    """A recording between two times in seconds as WAV, mono.

    Raises:
        DataError: If the file is gone or damaged.
    """
    import soundfile

    rate, stream = read_header(path).rate, io.BytesIO()
    mono = np.clip(read_mono(path, rate, start=start, end=end), -1.0, 1.0)
    soundfile.write(stream, mono, rate, format="WAV", subtype="PCM_16")
    return stream.getvalue()


def play(path: str, start: float, end: float) -> None:
    """Plays a part of a recording between two times in seconds.

    Raises:
        DataError: If the file is gone or damaged, or the player fails.
        ImportError: If nothing is installed that plays.
    """
    wav = wav_part(path, start, end)
    for name, options in PLAYERS.items():
        if shutil.which(name):
            done = subprocess.run([name, *options, "-"], input=wav, capture_output=True)
            # without a loudspeaker ffplay says so and ends as if it had played
            if done.returncode or b"Failed to open" in done.stderr:
                raise DataError(f"{name} could not play {path}; is there a loudspeaker?")
            return
    try:
        import sounddevice
        import soundfile
    except (ImportError, OSError) as error:  # OSError: PortAudio itself is missing
        raise ImportError(
            "--play needs ffplay (apt install ffmpeg), aplay (apt install alsa-utils), "
            "or pip install sounddevice (extra: mic)"
        ) from error
    try:
        sounddevice.play(*soundfile.read(io.BytesIO(wav)), blocking=True)
    except sounddevice.PortAudioError as error:
        raise DataError(f"no loudspeaker can be used ({error})") from error
