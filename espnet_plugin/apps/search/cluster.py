"""Write parts on machines that share their files, with Dask."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from espnet_plugin.apps.search.model import identify_model
from espnet_plugin.apps.search.parts import Part, embed_part
from espnet_plugin.utils.errors import DataError

RETRIES = 2


def write_part(
    part: tuple[int, int], *, sources: Sequence[str], output: str | Path, model: str, **loading: Any
) -> Part:
    """Writes a part, see :func:`embed_part`; the process keeps the model for its next part.

    ``loading`` are options of :func:`load_encoders`.
    """
    from espnet_plugin.apps.search.encoder import load_encoders

    found = identify_model(model)
    encoders = load_encoders(found, **loading)
    return embed_part(sources, Path(output), part=part, model=found, **encoders)


def run_parts(
    write: Callable[[tuple[int, int]], Part], *, parts: int, cluster: str, workers: int
) -> list[Part]:
    """Writes all parts with Dask, which tries a part again if it fails or its worker dies.

    Args:
        write: Function that a worker calls with the number of a part and the number of parts.
        parts: Number of parts.
        cluster, workers: Which workers to use, see :func:`open_client`.

    Raises:
        DataError: If parts cannot be written; it names them, after the others are written.
    """
    numbers = [(number, parts) for number in range(1, parts + 1)]
    with open_client(cluster, workers) as client:
        from distributed import as_completed

        futures = client.map(write, numbers, pure=False, retries=RETRIES)
        for done, _ in enumerate(as_completed(futures), 1):
            logging.info(f"parts that are done: {done} of {parts}")
        errors = {n: future.exception() for (n, _), future in zip(numbers, futures, strict=True)}
        if failed := {number: error for number, error in errors.items() if error}:
            reasons = "; ".join(f"part {number}: {error}" for number, error in failed.items())
            raise DataError(
                f"parts that cannot be written: {len(failed)} of {parts}. Run the command again, "
                "which keeps the others. To see why a part fails, run it by itself, with --part "
                f"{min(failed)}/{parts}. {reasons}"
            )
        return list(client.gather(futures))


def open_client(cluster: str, workers: int) -> AbstractContextManager[Any]:
    """Dask's client of workers that it starts, or of those that a scheduler has.

    Args:
        cluster: Place of the workers: ``local``; a scheduler's address; another environment of
            ESPnet3, e.g. ``slurm``, with Dask's own configuration; or a YAML file with what
            ``parallel`` holds in ESPnet3's configurations.
        workers: Number of workers to start; a file has its own.

    Raises:
        ImportError: If a package is missing.
    """
    try:
        import dask
        from distributed import Client

        logging.getLogger("distributed").setLevel(logging.WARNING)
        # workers that start again slowly would be given up for good
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
        if "://" in cluster:
            return Client(cluster)
        if cluster == "local":
            return Client(n_workers=workers, threads_per_worker=1, memory_limit=0)
        from espnet3.parallel.parallel import get_client
        from omegaconf import OmegaConf
    except ImportError as error:
        raise ImportError(
            f"--cluster {cluster} needs more packages ({error}): pip install 'dask[distributed]' "
            "(extra: cluster) for local and tcp://; the extra espnet3 and Python 3.12 for others"
        ) from error
    if os.path.isfile(cluster):
        return get_client(OmegaConf.load(cluster))
    return get_client(OmegaConf.create({"env": cluster, "n_workers": workers, "options": {}}))
