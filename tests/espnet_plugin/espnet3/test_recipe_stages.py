"""What the recipe's script is called with."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from espnet_plugin.espnet3.system import run_recipe_stages


def test_options_and_failures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="recipe_dir"):
        run_recipe_stages(tmp_path, 1, 3, options={})
    script = tmp_path / "speechclip.sh"
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > called\nexit ${CODE:-0}\n')
    script.chmod(0o755)
    options = {"corpus": "mini", "test_sets": ["a", "b"], "ngpu": 0, "dump_speech_states": True}
    run_recipe_stages(tmp_path, 1, 3, options={**options, "nj": None})
    assert (tmp_path / "called").read_text().splitlines() == [
        *("--stage", "1", "--stop_stage", "3", "--python", sys.executable),
        *("--corpus", "mini", "--test_sets", "a b", "--ngpu", "0", "--dump_speech_states", "true"),
    ]
    script.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(RuntimeError, match=r"stages 4 to 4 .* failed \(exit code 3\)"):
        run_recipe_stages(tmp_path, 4, 4, options=options)
