"""Each benchmark on tiny sizes: the numbers mean nothing, but that there are some."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import THREAD_VARIABLES, find, main
from benchmarks.measure import Row, Settings

QUICK = ("search",)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_yields_rows(name: str, tmp_path: Path) -> None:
    rows = list(find()[name].rows(Settings(work_dir=tmp_path, quick=True)))
    assert rows and all(isinstance(row, Row) for row in rows)
    assert all(row.ours.low <= row.ours.median <= row.ours.high for row in rows)
    assert all(bool(row.bound) == bool(row.bound_is) for row in rows)


def test_what_there_is(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    threads = torch.get_num_threads()
    main(["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} == find().keys() >= set(QUICK)
    with pytest.raises(SystemExit):
        main(["--only", "nothing", "--threads", str(threads)])
