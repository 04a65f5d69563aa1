"""The files of one set, written by each job and put together afterwards.

``utterances.txt`` is written last: a directory that has it is complete.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_plugin.data.manifest import RECORD, write_record
from espnet_plugin.data.scp import DataError, read_scp, text_lines, write_scp
from espnet_plugin.utils.atomic import atomic_path, write_text

UTTERANCE_ARRAYS = ("speech_parallel", "speech_cascaded", "text")
FRAME_SECONDS_FILE = "frame_seconds.txt"


@dataclass
class SetOutputs:
    """Embeddings and keywords of a set's utterances.

    Attributes:
        arrays: Per utterance id and array name (``speech_parallel``, ``speech_cascaded``,
            ``text``) one embedding, (dim,).
        keywords: Per utterance id one entry of ``keywords.jsonl``.
        utt2image: Image id of each utterance.
        images: Embedding of each image id, (dim,).
        attention: Attention maps of some utterances, (heads, rows, frames); the rows are the
            queries, or the frames of a model without queries.
        layer_weights: Weights of the speech encoder's layers, (layers + 1,).
        frame_seconds: Time from one frame to the next, of the attention maps and of ``alphas`` and
            ``fired`` in the keywords.
        made_from: What all this was made from, see :func:`~espnet_plugin.data.manifest.made_from`.
    """

    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    keywords: dict[str, dict[str, Any]] = field(default_factory=dict)
    utt2image: dict[str, str] = field(default_factory=dict)
    images: dict[str, np.ndarray] = field(default_factory=dict)
    attention: dict[str, np.ndarray] = field(default_factory=dict)
    layer_weights: np.ndarray | None = None
    frame_seconds: float | None = None
    made_from: Mapping[str, list[str]] = field(default_factory=dict)

    def write(self, directory: str | Path) -> None:
        """Writes the files of a set, rows in the order of ``LC_ALL=C sort`` (of code points)."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "utterances.txt").unlink(missing_ok=True)
        utterances = sorted(self.arrays)
        for name in UTTERANCE_ARRAYS:
            rows = [self.arrays[u][name] for u in utterances if name in self.arrays[u]]
            if rows and len(rows) != len(utterances):
                raise ValueError(f"{len(utterances) - len(rows)} utterances have no {name}")
            _write_array(directory / f"{name}.npy", rows)
        image_ids = sorted(self.images)
        _write_array(directory / "image.npy", [self.images[image] for image in image_ids])
        _write_lines(directory / "images.txt", image_ids)
        write_scp(directory / "utt2image", self.utt2image)
        weights = [] if self.layer_weights is None else self.layer_weights
        _write_array(directory / "layer_weights.npy", weights)
        _write_maps(directory / "attention.npz", self.attention)
        seconds = [] if self.frame_seconds is None else [repr(self.frame_seconds)]
        _write_lines(directory / FRAME_SECONDS_FILE, seconds)
        path = directory / "keywords.jsonl"
        if self.keywords:
            lines = (json.dumps(self.keywords[u], ensure_ascii=False) for u in utterances)
            _write_lines(path, list(lines))
        else:
            path.unlink(missing_ok=True)
        write_record(directory, self.made_from)
        _write_lines(directory / "utterances.txt", utterances)


def merge_outputs(parts: Sequence[str | Path], output_dir: str | Path) -> int:
    """Puts the outputs of several jobs together.

    Args:
        parts: Directories of the jobs.
        output_dir: Directory of the whole set.

    Returns:
        Number of utterances.

    Raises:
        DataError: When a job is incomplete or two jobs have the same utterance.
    """
    if not parts:
        raise DataError("nothing to merge: no job has written anything; run inference first")
    whole = SetOutputs()
    for part in map(Path, parts):
        one = read_outputs(part)
        twice = next((u for u in one.arrays if u in whole.arrays), None)
        if twice is not None:
            raise DataError(f"{part}: utterance {twice} is in another job's output too")
        whole.arrays.update(one.arrays)
        whole.keywords.update(one.keywords)
        whole.utt2image.update(one.utt2image)
        whole.images.update(one.images)
        whole.attention.update(one.attention)
        whole.layer_weights = one.layer_weights
        whole.frame_seconds = one.frame_seconds
        if part != Path(parts[0]) and one.made_from != whole.made_from:
            raise DataError(f"{part}: of another model or other data than {parts[0]}; run it again")
        whole.made_from = one.made_from
    whole.write(output_dir)
    return len(whole.arrays)


def read_outputs(directory: str | Path) -> SetOutputs:
    """Reads what :meth:`SetOutputs.write` wrote.

    Raises:
        DataError: When the directory is incomplete.
    """
    directory = Path(directory)
    if not (directory / "utterances.txt").is_file():
        raise DataError(
            f"{directory} has no utterances.txt: that job did not finish; see its log and run it "
            "again"
        )
    utterances = list(read_scp(directory / "utterances.txt"))
    outputs = SetOutputs(arrays={utterance: {} for utterance in utterances})
    for name in UTTERANCE_ARRAYS:
        for utterance, row in _rows(directory / f"{name}.npy", utterances).items():
            outputs.arrays[utterance][name] = row
    outputs.images = _rows(directory / "image.npy", list(read_scp(directory / "images.txt")))
    outputs.utt2image = read_scp(directory / "utt2image")
    if (directory / RECORD).is_file():
        outputs.made_from = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    if (directory / "layer_weights.npy").is_file():
        outputs.layer_weights = np.load(directory / "layer_weights.npy", allow_pickle=False)
    if (directory / FRAME_SECONDS_FILE).is_file():
        lines = text_lines(directory / FRAME_SECONDS_FILE)
        outputs.frame_seconds = next((float(line) for _, line in lines if line), None)
    if (directory / "attention.npz").is_file():
        with np.load(directory / "attention.npz", allow_pickle=False) as maps:
            outputs.attention = dict(maps)
    if (directory / "keywords.jsonl").is_file():
        entries = (json.loads(line) for _, line in text_lines(directory / "keywords.jsonl") if line)
        outputs.keywords = {entry["utt"]: entry for entry in entries}
    return outputs


def _rows(path: Path, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    if not path.is_file():
        return {}
    array = np.load(path, allow_pickle=False)
    if len(array) != len(names):
        raise DataError(f"{path}: {len(array)} rows for {len(names)} ids; run that job again")
    return dict(zip(names, array, strict=True))


def _write_array(path: Path, rows: Sequence[np.ndarray]) -> None:
    if not len(rows):
        path.unlink(missing_ok=True)  # of an earlier run with another model
        return
    with atomic_path(path) as temporary:
        np.save(temporary, np.stack(rows).astype(np.float32))


def _write_maps(path: Path, maps: Mapping[str, np.ndarray]) -> None:
    if not maps:
        path.unlink(missing_ok=True)
        return
    # as np.savez_compressed does, for which "file" could be no utterance's id
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name, rows in maps.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, rows.astype(np.float32), allow_pickle=False)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))
