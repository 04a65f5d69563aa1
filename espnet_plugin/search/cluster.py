"""Write parts on machines that share their files, with Dask or with any engine of your own."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from espnet_plugin.data.scp import DataError
from espnet_plugin.search.model import identify_model
from espnet_plugin.search.parts import embed_part, is_whole, read_manifest


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

    A part whose workers die is tried again, in the end without others beside it.

    Args:
        write: Function that a worker calls with the number of a part and the number of parts.
        output: Folder of the parts.
        parts: Number of parts.
        cluster, workers: Which workers to use, see :func:`open_client`.

    Raises:
        DataError: If parts cannot be written; it names them, after the others are written.
    """
    numbers = range(1, parts + 1)
    manifests = {number: output / f"part-{number}-of-{parts}.json" for number in numbers}

    def report(_: Any) -> None:
        there = sum(manifest.is_file() for manifest in manifests.values())
        logging.info(f"{output}: parts that are complete: {there} of {parts}")

    with open_client(cluster, workers) as client:
        from distributed import KilledWorker, wait

        def failures(wanted: Sequence[int]) -> dict[int, BaseException]:
            todo = [(number, parts) for number in wanted]
            futures = client.map(write, todo, pure=False, retries=2)
            for future in futures:
                future.add_done_callback(report)
            wait(futures)
            errors = {n: future.exception() for n, future in zip(wanted, futures, strict=True)}
            # a worker that dies takes its results along, but not the parts that it has written
            return {
                number: error
                for number, error in errors.items()
                if error and not (isinstance(error, KilledWorker) and is_whole(manifests[number]))
            }

        failed = failures(numbers)
        for number in [n for n, error in failed.items() if isinstance(error, KilledWorker)]:
            del failed[number]  # another part may have killed its workers
            failed |= failures([number])
    if failed:
        reasons = "; ".join(f"part {number}: {error}" for number, error in sorted(failed.items()))
        raise DataError(
            f"{output}: parts that cannot be written: {len(failed)} of {parts}. To see why, run "
            f"such a part by itself, with --part {min(failed)}/{parts}. {reasons}"
        )
    return [read_manifest(manifest) for manifest in manifests.values()]


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
