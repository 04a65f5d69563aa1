"""Which CLIP token each row of a reduced token table is."""

from __future__ import annotations

from collections import defaultdict

from torch import Tensor

# Rows of the table that the original never chooses. In a list in order of frequency they are
# padding, start and end; in a list in order of ids they are ordinary tokens.
FORBIDDEN_ROWS = (0, 2, 3)


def recover_ids(rows: Tensor, table: Tensor) -> list[int]:
    """Finds the ids of token embeddings by looking for exactly equal rows.

    Args:
        rows: Rows of the reduced table, (n, dim).
        table: Rows of the whole table, (V, dim).

    Raises:
        ValueError: If a row is not in the table, or is there more than once.
    """
    if rows.shape[1:] != table.shape[1:]:
        raise ValueError(
            f"the reduced token table is {tuple(rows.shape)}, the whole one {tuple(table.shape)}"
        )
    found: dict[bytes, list[int]] = defaultdict(list)
    for token_id, row_bytes in enumerate(_bytes(table)):
        found[row_bytes].append(token_id)
    matches = [found.get(row_bytes, []) for row_bytes in _bytes(rows)]
    absent = [row for row, ids in enumerate(matches) if not ids]
    if absent:
        raise ValueError(
            f"rows of the reduced token table that the whole one lacks: {len(absent)}, "
            f"first: {absent[0]}"
        )
    ambiguous = [(row, ids) for row, ids in enumerate(matches) if len(ids) > 1]
    if ambiguous:
        named = "; ".join(
            f"row {row} is token {' or '.join(map(str, ids[:4]))}" for row, ids in ambiguous[:3]
        )
        raise ValueError(f"rows with ambiguous token ids: {len(ambiguous)} ({named})")
    return [ids[0] for ids in matches]


def _bytes(rows: Tensor) -> list[bytes]:
    # + 0.0 makes one zero of the two that float has.
    return [row.tobytes() for row in (rows.detach().float() + 0.0).numpy()]
