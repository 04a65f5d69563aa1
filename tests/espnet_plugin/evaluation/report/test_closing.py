"""The call that the last lines of a run suggest."""

from __future__ import annotations

from pathlib import Path

import pytest

from espnet_plugin.evaluation.report.closing import next_call


def test_the_projects_own_python_is_not_repeated_absolutely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tmp_path / "egs2" / "speechclip_plus"
    (recipe / "conf").mkdir(parents=True)
    for name in ("mini_hybrid_plus", "mini_parallel"):
        (recipe / f"conf/{name}.yaml").touch()
    monkeypatch.chdir(recipe)
    config = Path("conf/mini_hybrid_plus.yaml")
    rest = " --stage 7 --speechclip_config conf/mini_parallel.yaml"
    call = f"./run.sh --corpus mini --python {tmp_path}/.venv/bin/python"
    own = next_call(call, config)
    assert own == "./run.sh --corpus mini --python ../../.venv/bin/python" + rest
    call = "./run.sh --corpus mini --python /usr/bin/python3"
    assert next_call(call, config) == call + rest
