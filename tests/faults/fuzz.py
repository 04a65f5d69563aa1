"""Fuzzes our own readers of bytes, guided by the branches that an input reaches.

Needs atheris (``pip install atheris``; it has wheels for some versions of Python on Linux):

    python -m tests.faults.fuzz --seconds 200

Ends with an error at the first input that gives something else than a value or an error of one
sentence, or takes too long; libFuzzer leaves the input in the working directory.
"""

from __future__ import annotations

import argparse
import io
import pickle
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["espnet_plugin.data", "espnet_plugin.pretrained", "espnet_plugin.model"]
):
    from espnet_plugin.data.scp import read_scp
    from espnet_plugin.pretrained.trust import unpack_model
    from espnet_plugin.teachers.weights import read_pickle
    from espnet_plugin.utils.unpack import unpack


def _pickle(data: bytes, folder: Path) -> None:
    with zipfile.ZipFile(folder / "a", "w") as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", "3\n")
        archive.writestr("a/data/0", bytes(16))
    read_pickle(folder / "a")


def _archive(data: bytes, folder: Path) -> None:
    (folder / "a").write_bytes(data)
    (folder / "b").mkdir()
    unpack_model(folder / "a", folder / "b")
    assert {path.name for path in folder.iterdir()} == {"a", "b"}


def _corpus(data: bytes, folder: Path) -> None:
    name = folder / ("a.zip" if data[:1] == b"P" else "a.tar")
    name.write_bytes(data)
    unpack(name, folder / "b")
    assert all(path.name in (name.name, "b") for path in folder.iterdir())


def _table(data: bytes, folder: Path) -> None:
    (folder / "a").write_bytes(data)
    read_scp(folder / "a")


def _zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("exp/model.pth", b"a" * 99)
        archive.writestr("meta.yaml", "files: {}\n")
    return stream.getvalue()


def _tarred() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("wavs/a.wav")
        entry.size = 9
        archive.addfile(entry, io.BytesIO(b"a" * 9))
    return stream.getvalue()


_WEIGHTS = pickle.dumps({"a": [1, 2.5, "b"], "c": None}, protocol=2)
# what reads bytes in an empty folder, and bytes that it reads
TARGETS: dict[str, tuple[Callable[[bytes, Path], None], list[bytes]]] = {
    "pickle": (_pickle, [_WEIGHTS]),
    "archive": (_archive, [_zipped()]),
    "corpus": (_corpus, [_zipped(), _tarred()]),
    "table": (_table, [b"a 1\nb\t2 3\n"]),
}


def _fuzz(name: str, options: list[str]) -> None:
    read, seeds = TARGETS[name]

    def one(data: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            try:
                read(data, Path(folder))
            except (OSError, ValueError) as error:
                assert str(error)

    for seed in seeds:
        one(seed)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup(["fuzz", *options, corpus], one)
        atheris.Fuzz()  # which ends the process


def main() -> None:
    """Fuzzes each target in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=120, help="of each target (120)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        _fuzz(args.one, [f"-max_total_time={args.seconds}", "-timeout=20", "-max_len=4096"])
    for name in args.targets:
        command = [sys.executable, "-m", "tests.faults.fuzz", "--one", name]
        subprocess.run([*command, "--seconds", str(args.seconds)], check=True)


if __name__ == "__main__":
    main()
