from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from espnet_plugin.apps.search.cluster import open_client, run_parts  # noqa: E402
from espnet_plugin.apps.search.parts import Part  # noqa: E402
from espnet_plugin.data.scp import DataError  # noqa: E402
from tests.espnet_plugin.apps.search.test_parts import embed  # noqa: E402


def write(part: tuple[int, int], *, source: Path, output: Path) -> Part:
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
            run_parts(run, **where)
        assert {path.stem for path in output.iterdir()} == {"part-1-of-3", "part-3-of-3"}
        (pictures / "repaired").touch()
        made = run_parts(run, **where)
    assert [part.number for part in made] == [1, 2, 3]
    for number in (1, 2, 3):
        embed(pictures, tmp_path / "one", (number, 3))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (output / path.name).read_bytes()


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
