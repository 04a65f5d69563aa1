"""Which CLIP token each row of a reduced token table is."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

REMEDY = "give the ids with --vocabulary FILE"
# Rows of the table that the original never chooses: padding, start and end in a list in order of
# frequency. It goes by row, whatever stands there (with a list in order of ids these are ordinary
# tokens).
FORBIDDEN_ROWS = (0, 2, 3)
_ROWS_AT_ONCE = 4096


def recover_ids(rows: Tensor, table: Tensor) -> list[int]:
    """Finds the ids of token embeddings by looking for exactly equal rows.

    Args:
        rows: Reduced table, (n, dim).
        table: Whole table, (V, dim).

    Raises:
        ValueError: If a row is not in the table, or stands there more than once.
    """
    if rows.shape[1:] != table.shape[1:]:
        raise ValueError(
            f"the reduced token table is {tuple(rows.shape)}, the whole one {tuple(table.shape)}"
        )
    found: dict[bytes, list[int]] = defaultdict(list)
    for token_id, digest in enumerate(_digests(table)):
        found[digest].append(token_id)
    matches = [found.get(digest, []) for digest in _digests(rows)]
    absent = [row for row, ids in enumerate(matches) if not ids]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(matches)} rows of the reduced token table (first: row "
            f"{absent[0]}) equal no row of the whole one; {REMEDY}"
        )
    ambiguous = [(row, ids) for row, ids in enumerate(matches) if len(ids) > 1]
    if ambiguous:
        named = "; ".join(
            f"row {row} is token {' or '.join(map(str, ids[:4]))}" for row, ids in ambiguous[:3]
        )
        raise ValueError(
            f"the token ids of {len(ambiguous)} rows are ambiguous ({named}); {REMEDY}"
        )
    return [ids[0] for ids in matches]


def read_ids(path: str | Path) -> list[int]:
    """Token ids in row order from a text file (one id a line), a ``tokens.tsv``, or an array
    (.npy).

    Of a two-dimensional array the first column counts.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is none of these.
    """
    from espnet_plugin.speechclip.vocabulary import HEADER, KeywordVocabulary

    path = Path(path)
    if not path.is_file():
        what = "a folder, not a file" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"vocabulary (--vocabulary) {path}: {what}")
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        array = array[:, 0] if array.ndim == 2 else array
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"{path}: expected an array of token ids, got {array.dtype} {array.shape}"
            )
        return [int(token_id) for token_id in array]
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    if lines[:1] == [HEADER]:
        return list(KeywordVocabulary.from_file(path).ids)
    for number, line in enumerate(lines, 1):
        if not line.strip().isdigit():
            raise ValueError(f"{path}:{number}: expected a token id, got {line!r}")
    return [int(line) for line in lines]


def check_ids(ids: list[int], rows: Tensor, table: Tensor, source: str | Path) -> None:
    """Raises ValueError unless ``rows`` are the rows ``ids`` of ``table``."""
    if len(ids) != len(rows):
        raise ValueError(
            f"{source}: {len(ids)} token ids, but the checkpoint's token table has {len(rows)} rows"
        )
    if max(ids) >= len(table):
        raise ValueError(f"{source}: token id {max(ids)} is beyond CLIP's {len(table)} tokens")
    differing = (table[ids] != rows).any(dim=1).nonzero()[:, 0].tolist()
    if differing:
        raise ValueError(
            f"{source}: {len(differing)} rows of the checkpoint's token table are not the tokens "
            f"that the file says; first: row {differing[0]} is not token {ids[differing[0]]}"
        )


def _digests(rows: Tensor) -> list[bytes]:
    digests = []
    for part in rows.detach().split(_ROWS_AT_ONCE):
        # + 0.0 makes one zero of the two that float has.
        array = (part.float() + 0.0).view(torch.uint8).numpy()  # (rows, bytes of a row)
        digests += [hashlib.blake2b(row, digest_size=16).digest() for row in array]
    return digests
