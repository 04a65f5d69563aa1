"""Read the embedding of one image, as stage 4 stores it."""

from __future__ import annotations

import numpy as np

from espnet_plugin.utils.errors import DataError


def checked_embedding(embedding: np.ndarray) -> np.ndarray:
    """Checks a stored image embedding (dim,)."""
    if embedding.ndim != 1 or not np.isfinite(embedding).all():
        raise ValueError(
            f"the stored image embedding, of shape {embedding.shape}, is not a vector or holds NaN "
            "or infinite values"
        )
    return embedding


def read_embedding(path: str) -> np.ndarray:
    """Reads a stored image embedding, float32 (dim,).

    Raises:
        DataError: If the file cannot be used.
    """
    try:
        return checked_embedding(np.load(path, allow_pickle=False)).astype(np.float32)
    except Exception as error:  # a damaged header can fail in any way
        raise DataError(f"{path}: {error}; remove it and run stage 4 again") from error
