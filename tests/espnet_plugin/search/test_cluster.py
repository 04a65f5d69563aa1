from __future__ import annotations

import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.pages import PROJECT

pytest.importorskip("pyarrow")

from espnet_plugin.data.scp import DataError  # noqa: E402
from espnet_plugin.search.cluster import open_client, run_parts, write_part  # noqa: E402
from tests.espnet_plugin.search.test_parts import embed  # noqa: E402


def write(part: tuple[int, int], *, source: Path, output: Path) -> dict[str, Any]:
    """Part 2 needs something that is not there."""
    if part[0] == 2 and not (source / "repaired").exists():
        raise DataError(f"{source}: not mounted here")
    return embed(source, output, part)


@pytest.mark.slow
def test_dask_writes_what_one_process_writes(pictures: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0}
    output = tmp_path / "parts"
    run = partial(write, source=pictures, output=output)
    with distributed.LocalCluster(**options) as cluster:
        where = {"parts": 3, "cluster": cluster.scheduler_address, "workers": 2}
        with pytest.raises(
            DataError, match="cannot be written: 1 of 3. .* --part 2/3. .*not mounted here"
        ):
            run_parts(run, output, **where)
        assert {path.stem for path in output.iterdir()} == {"part-1-of-3", "part-3-of-3"}
        (pictures / "repaired").touch()
        made = run_parts(run, output, **where)
    assert sorted(part["part"] for part in made) == [1, 2, 3]
    for number in (1, 2, 3):
        embed(pictures, tmp_path / "one", (number, 3))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (output / path.name).read_bytes()


def write_and_die(part: tuple[int, int], *, source: Path, output: Path) -> None:
    embed(source, output, part)
    if part[0] == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_part_counts_although_its_workers_died(pictures: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    import dask

    options = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": 0}
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.deploy.lost-worker-timeout": "1 day",
    }
    output = tmp_path / "parts"
    run = partial(write_and_die, source=pictures, output=output)
    with dask.config.set(settings), distributed.LocalCluster(**options) as cluster:
        where = {"parts": 2, "cluster": cluster.scheduler_address, "workers": 1}
        assert [part["part"] for part in run_parts(run, output, **where)] == [1, 2]


@pytest.mark.slow
def test_espnet3_starts_the_workers_of_its_configurations(tmp_path: Path) -> None:
    pytest.importorskip("espnet3", reason="ESPnet3 needs Python 3.12")
    pytest.importorskip("dask_jobqueue")
    file = tmp_path / "parallel.yaml"
    file.write_text("env: local\nn_workers: 2\noptions: {threads_per_worker: 1}\n")
    with open_client(str(file), 1) as client:
        assert len(client.scheduler_info()["workers"]) == 2
        assert client.submit(abs, -3).result() == 3
    with pytest.raises(ValueError, match="Unknown env: nowhere"), open_client("nowhere", 1):
        pass


@pytest.mark.parametrize(
    ("cluster", "package"), [("local", "distributed"), ("slurm", "espnet3.parallel.parallel")]
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, cluster, package) -> None:
    if cluster == "slurm":
        pytest.importorskip("distributed")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"--cluster {cluster} needs more .*extra espnet3"):
        open_client(cluster, 2)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "pyspark"])
def test_other_engines_run_the_documented_lines(
    engine: str, exported: Path, pictures: Path, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    import subprocess

    page = (PROJECT / "docs" / "image_search.md").read_text(encoding="utf-8")
    (job,) = re.findall(r"```python\n((?:(?!```).)*\njob = .*?)```", page, re.DOTALL)
    (lines,) = re.findall(rf"```python\n(import {engine}\b.*?)```", page, re.DOTALL)
    for old, new in {"SOURCE": pictures, "MODEL": exported, "parts": tmp_path / "parts"}.items():
        job = job.replace(f'"{old}"', repr(str(new)))
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", job + lines], env=environment, check=True)
    loaded = {"sources": [str(pictures)], "output": tmp_path / "one", "model": str(exported)}
    for number in range(1, 9):
        write_part((number, 8), **loaded)
    parts = sorted((tmp_path / "parts").iterdir())
    assert [path.name for path in parts] == sorted(p.name for p in (tmp_path / "one").iterdir())
    rows = [json.loads(path.read_bytes())["rows"] for path in parts if path.suffix == ".json"]
    assert sum(rows) == len([*pictures.rglob("*.png"), *pictures.rglob("*.jpg")])
