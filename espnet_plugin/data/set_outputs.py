"""Write inference's outputs of a set: each job writes its share, and the shares are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from espnet_plugin.data.datadir import RECORDINGS
from espnet_plugin.data.inference_set import (
    FRAME_SECONDS,
    IMAGE,
    IMAGES,
    KEYWORDS,
    LAYER_WEIGHTS,
    UTT2IMAGE,
    UTTERANCE_ARRAYS,
    UTTERANCES,
    InferenceSet,
    read_frame_seconds,
    read_inference_set,
    read_layer_weights,
)
from espnet_plugin.data.keyword_file import UtteranceKeywords, write_keywords
from espnet_plugin.data.record import Record, read_record, write_record
from espnet_plugin.data.scp import read_scp, write_scp
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.errors import DataError


@dataclass
class SetOutputs:
    """Outputs of inference for a set's utterances, or for a job's share of them.

    Attributes:
        arrays: Embedding, (dim,), by utterance id and name of the array (``parallel``,
            ``cascaded``, ``text``).
        keywords: Keywords of the cascaded branch, by utterance id.
        utt2image: Image id of each utterance.
        recordings: Recordings of each utterance that is put together from some, between spaces.
        images: Embedding of each image id, (dim,).
        layer_weights: Weights of the speech encoder's layers, (layers + 1,).
        frame_seconds: Time from one frame to the next, of ``alphas`` and ``fired`` in the keywords.
        made_from: Record of what made all this.
    """

    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    keywords: dict[str, UtteranceKeywords] = field(default_factory=dict)
    utt2image: dict[str, str] = field(default_factory=dict)
    recordings: dict[str, str] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    layer_weights: np.ndarray | None = None
    frame_seconds: float | None = None
    made_from: Record | None = None

    def add(self, part: InferenceSet) -> None:
        """Adds the outputs of a job; layer weights and frame time are those of the last job."""
        found = {name: getattr(part, name) for name in UTTERANCE_ARRAYS}
        for row, (utterance, image) in enumerate(zip(part.utterances, part.image_of, strict=True)):
            self.arrays[utterance] = {n: rows[row] for n, rows in found.items() if rows is not None}
            if image:
                self.utt2image[utterance] = image
        self.keywords.update({each.utterance: each for each in part.keywords})
        self.recordings.update(read_scp(part.directory / RECORDINGS))
        self.images.update(zip(part.images, part.image, strict=True))
        self.layer_weights = read_layer_weights(part.directory)
        if (part.directory / FRAME_SECONDS).exists():
            self.frame_seconds = read_frame_seconds(part.directory)

    def write(self, directory: str | Path) -> None:
        """Writes the files of a set, rows in the order of ``LC_ALL=C sort`` (of code points)."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / UTTERANCES).unlink(missing_ok=True)
        utterances = sorted(self.arrays)
        for name, file in UTTERANCE_ARRAYS.items():
            rows = [self.arrays[u][name] for u in utterances if name in self.arrays[u]]
            if rows and len(rows) != len(utterances):
                raise ValueError(f"utterances without {name}: {len(utterances) - len(rows)}")
            _write_array(directory / file, rows)
        image_ids = sorted(self.images)
        _write_array(directory / IMAGE, [self.images[image] for image in image_ids])
        _write_lines(directory / IMAGES, image_ids)
        write_scp(directory / UTT2IMAGE, self.utt2image)
        write_scp(directory / RECORDINGS, self.recordings)
        weights = [] if self.layer_weights is None else self.layer_weights
        _write_array(directory / LAYER_WEIGHTS, weights)
        seconds = [] if self.frame_seconds is None else [repr(self.frame_seconds)]
        _write_lines(directory / FRAME_SECONDS, seconds)
        if self.keywords:
            write_keywords(directory / KEYWORDS, (self.keywords[u] for u in utterances))
        else:
            (directory / KEYWORDS).unlink(missing_ok=True)
        if self.made_from:
            write_record(directory, self.made_from)
        _write_lines(directory / UTTERANCES, utterances)


def merge_outputs(parts: Sequence[str | Path], output_dir: str | Path) -> int:
    """Merges the outputs of several jobs.

    Args:
        parts: Directories of the jobs.
        output_dir: Directory of the whole set.

    Returns:
        The number of utterances.

    Raises:
        DataError: If a job is incomplete or missing, or two jobs have the same utterance.
        ValueError: If a job's files are damaged.
    """
    if not parts:
        raise DataError("nothing to merge: no job has written anything; run inference first")
    whole = SetOutputs()
    for part in map(Path, parts):
        if not (part / UTTERANCES).is_file():
            raise DataError(
                f"{part} has no {UTTERANCES}: that job did not finish; see its log and run it again"
            )
        one = read_inference_set(part)
        twice = next((u for u in one.utterances if u in whole.arrays), None)
        if twice is not None:
            raise DataError(f"{part}: utterance {twice} is in another job's output too")
        made_from = read_record(part)
        if part != Path(parts[0]) and made_from != whole.made_from:
            raise DataError(f"{part}: of another model or other data than {parts[0]}; run it again")
        whole.made_from = made_from
        whole.add(one)
    listed = whole.made_from.inputs["speech"][0] if whole.made_from else None
    wanted = read_scp(listed) if listed and Path(listed).is_file() else {}
    if absent := wanted.keys() - whole.arrays.keys():
        raise DataError(
            f"{output_dir}: utterances of {listed} in no job's output: {len(absent)}, the first "
            f"is {min(absent)}; merge the outputs of all parts"
        )
    whole.write(output_dir)
    return len(whole.arrays)


def _write_array(path: Path, rows: Sequence[np.ndarray]) -> None:
    if not len(rows):
        path.unlink(missing_ok=True)  # of an earlier run with another model
        return
    with atomic_path(path) as temporary:
        np.save(temporary, np.stack(rows).astype(np.float32))


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
