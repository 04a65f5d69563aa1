"""Recordings with something wrong among good ones: skipped by name, and the good ones as ever."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_plugin.bin.format_wav_scp import main
from espnet_plugin.data.scp import read_scp

GOOD = ("good_1", "good_2", "good_3")


def cut(share: float) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * len(path.read_bytes()))])


def patched(offset: int, data: bytes) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[offset : offset + len(data)] = data
        path.write_bytes(content)

    return damage


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "a byte": lambda path: path.write_bytes(b"R"),
    "a text": lambda path: path.write_text("no sound at all\n" * 99),
    "zeros": lambda path: path.write_bytes(bytes(len(path.read_bytes()))),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "a header only": cut(44 / 64044),
    "a part of a header": cut(20 / 64044),
    "a third": cut(1 / 3),
    "nine tenths": cut(0.9),
    "another magic": patched(0, b"RIFX"),
    "no format": patched(12, b"junk"),
    "an unknown encoding": patched(20, b"\xee\xee"),
    "no channels": patched(22, b"\0\0"),
    "no rate": patched(24, bytes(4)),
    "twice the length": patched(40, (128000).to_bytes(4, "little")),
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    random_state = np.random.default_rng(0)
    for number, name in enumerate([*GOOD, "bad"]):
        wave = random_state.normal(0, 0.1, 32000)
        soundfile.write(tmp_path / f"{name}.wav", wave, 16000 if number else 8000)
    names = sorted([*GOOD, "bad"])
    (tmp_path / "wav.scp").write_text("".join(f"{n} {tmp_path / n}.wav\n" for n in names))
    return tmp_path


def arguments(corpus: Path, output: str) -> list[str]:
    options = ["--wav_scp", str(corpus / "wav.scp"), "--output_dir", str(corpus / output)]
    return [*options, "--max_bad", "0.5"]


def formatted(corpus: Path, output: str) -> dict[str, bytes]:
    return {
        key: Path(path).read_bytes() for key, path in read_scp(corpus / output / "wav.scp").items()
    }


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_bad_recording(corpus: Path, kind: str) -> None:
    main(arguments(corpus, "clean"))
    DAMAGE[kind](corpus / "bad.wav")
    main(arguments(corpus, "out"))
    clean, found = formatted(corpus, "clean"), formatted(corpus, "out")
    assert found == {name: clean[name] for name in GOOD}
    assert f"bad\t{corpus / 'bad.wav'}\t" in (corpus / "out" / "skipped.tsv").read_text()


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(corpus: Path) -> None:
    main(arguments(corpus, "clean"))
    command = [sys.executable, "-m", "espnet_plugin.bin.format_wav_scp"]
    command += [*arguments(corpus, "out"), "--nj", "2"]
    moments = random.Random(0)
    for _ in range(4):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.1, 1.5))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    main(arguments(corpus, "out"))
    assert formatted(corpus, "out") == formatted(corpus, "clean")
