"""Parts on machines that see the same files: any engine calls ``write_part``, Dask does here."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.model import identify_model
from espnet_plugin.search.parts import embed_part, read_manifest


def write_part(
    part: tuple[int, int], *, sources: Sequence[str], output: str | Path, model: str, **loading: Any
) -> dict[str, Any]:
    """Writes a part, see :func:`embed_part`; the process keeps the model for its next part.

    ``loading`` are options of :func:`load_encoders`.
    """
    from espnet_plugin.search.encoder import load_encoders

    found = identify_model(model)
    encoders = load_encoders(found, **loading)
    return embed_part(sources, Path(output), part=part, model=found, **encoders)


def run_parts(
    write: Callable[[tuple[int, int]], Any], output: Path, *, parts: int, cluster: str, workers: int
) -> list[dict[str, Any]]:
    """Writes all parts with Dask; returns their manifests.

    A part whose workers died continues as long as it finishes batches between their deaths.

    Args:
        write: Called on a worker with the number of a part and the number of parts.
        output: Folder of the parts.
        parts: Number of parts.
        cluster, workers: See :func:`open_client`.

    Raises:
        DataError: With the parts that cannot be written, after the others are.
    """
    with open_client(cluster, workers) as client:
        from distributed import KilledWorker, as_completed

        done: list[dict[str, Any]] = []
        failed: dict[int, BaseException] = {}
        submitted: dict[Any, tuple[int, int]] = {}

        def finished(number: int) -> int:
            return len(list(output.glob(f"part-{number}-of-{parts}.unfinished/[!.]*.parquet")))

        def submit(number: int) -> Any:
            future = client.submit(write, (number, parts), pure=False)
            submitted[future] = number, finished(number)
            return future

        groups = [list(range(1, parts + 1))]
        for group in groups:
            running = as_completed([submit(number) for number in group])
            for future in running:
                number, before = submitted.pop(future)
                error = future.exception()
                killed = isinstance(error, KilledWorker)
                if killed and finished(number) > before:
                    running.add(submit(number))
                elif killed and len(group) > 1:  # alone: another part may have killed its workers
                    groups.append([number])
                elif error:
                    failed[number] = error
                else:  # its result may be lost with its worker, the part is not
                    done.append(read_manifest(output / f"part-{number}-of-{parts}.json"))
                    logging.info(f"{output}: {len(done)} of {parts} parts are complete")
    if failed:
        reasons = "; ".join(f"part {number}: {error}" for number, error in sorted(failed.items()))
        raise DataError(
            f"{output}: {len(failed)} of {parts} parts cannot be written. To see why, run such a "
            f"part by itself, with --part {min(failed)}/{parts}. {reasons}"
        )
    return done


def open_client(cluster: str, workers: int) -> AbstractContextManager[Any]:
    """Dask's client of workers that it starts, or of those that a scheduler has.

    Args:
        cluster: ``local``; a scheduler's address; another environment of ESPnet3, e.g. ``slurm``,
            with Dask's own configuration; or a YAML file as its configurations' ``parallel``.
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
