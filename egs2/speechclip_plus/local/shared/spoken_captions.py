"""Spoken captions as a corpus lists them, and whether their files can be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class SpokenCaption:
    """One recording of one caption of one picture.

    Attributes:
        split: ``train``, ``dev``, ``test``, or empty when no split has the picture.
        utterance: ``<image>_<n>``.
        image: Image id.
        recording: Sound file.
        picture: Picture file.
        speaker: Who speaks; empty when unknown.
        caption: What is said; None when nobody wrote it down.
    """

    split: str
    utterance: str
    image: str
    recording: str
    picture: str
    speaker: str = ""
    caption: str | None = None


@dataclass(frozen=True)
class Corpus:
    """What is a corpus's own.

    Attributes:
        name: Its name.
        captions: Its spoken captions, which may come one after another.
        remedy: What to do when files are missing.
        published: Split → what its owners published (``images``, ``utterances``).
        notes: Sentences about quirks that were handled.
        with_text: Whether somebody wrote the captions down.
        total: Number of captions, where it is known before they are read.
    """

    name: str
    captions: Iterable[SpokenCaption]
    remedy: str
    published: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    with_text: bool = True
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A spoken caption, how long it is in seconds, and what is wrong with it, if anything.

    ``absent`` says that neither the recording nor the picture is there.
    """

    item: SpokenCaption
    seconds: float = 0.0
    problem: str = ""
    absent: bool = False


def clean_caption(text: str) -> str:
    r"""White space of any kind made single, so that a caption stays on one line.

    >>> clean_caption(" A dog\u2028 runs . ")
    'A dog runs .'
    """
    return " ".join(text.split())


def safe_id(name: str) -> str:
    """An id without white space or slashes."""
    return re.sub(r"[\s/\\]+", "-", name.strip())


def check(item: SpokenCaption) -> Checked:
    """Looks at the picture's presence and at the recording's header."""
    import soundfile

    picture, recording = Path(item.picture), Path(item.recording)
    has_picture, has_recording = picture.is_file(), recording.is_file()
    if not has_recording:
        return Checked(item, problem="recording missing", absent=not has_picture)
    if not has_picture:
        return Checked(item, problem="picture missing")
    if recording.stat().st_size == 0:
        return Checked(item, problem="recording is an empty file")
    try:
        info = soundfile.info(item.recording)
    except (soundfile.SoundFileError, RuntimeError):
        return Checked(item, problem="recording cannot be read")
    if info.frames <= 0 or info.samplerate <= 0:
        return Checked(item, problem="recording has no samples")
    if item.caption is not None and not item.caption:
        return Checked(item, problem="caption is empty")
    return Checked(item, seconds=info.frames / info.samplerate)


def check_all(items: Iterable[SpokenCaption], *, jobs: int) -> Iterator[Checked]:
    """Checks in parallel, in order, a few thousand at a time, so that memory does not grow."""
    items = iter(items)
    with ProcessPoolExecutor(max_workers=max(1, jobs)) as pool:
        while batch := list(islice(items, _BATCH)):
            if jobs > 1 and len(batch) > 64:
                yield from pool.map(check, batch, chunksize=128)
            else:
                yield from map(check, batch)
