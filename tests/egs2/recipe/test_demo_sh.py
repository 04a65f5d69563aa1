"""scripts/demo.sh with stand-ins for the stages and for the page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.egs2.recipe.test_processes import PATIENCE, is_running, wait_for
from tests.egs2.recipe.test_speechclip_sh import copy_recipe

# Instead of run.sh: notes its options and when it began and ended, and prints what speechclip.sh
# prints. FAIL: the configuration with which it fails. HANG: it does not end; the file gets its
# process. WAIT: tenths of a second to wait until two have begun.
FAKE_RUN = r"""#!/usr/bin/env bash
. scripts/utils/supervise.sh
echo "$*" >> calls
config=data seed=
while [ $# -gt 0 ]; do
    case "$1" in
        --speechclip_config) config=$(basename "$2" .yaml);;
        --seed) seed=_seed$2;;
    esac
    shift
done

# What speechclip.sh prints at the beginning of a stage.
say() { echo "2026-11-30T19:21:44 (speechclip.sh:338:begin_stage) Stage $*"; }

if [ "${config}" = data ]; then
    say "1: data preparation of mini (local/data.sh)"
    echo "2026-11-30 18:49:46,840 INFO: small CLIP: 62/480 step after 1 minute and 5 seconds"
    exit
fi

echo "begin ${config}" >> times
if [ -n "${HANG:-}" ]; then echo $$ >> "${HANG}"; sleep 120; fi

say "7: training with conf/tuning/${config}.yaml -> exp/speechclip_${config}${seed}"
echo "  1/2epoch started"
echo "  1epoch results: recall_mean_at_1=0.454" >&2
echo "  2/2epoch started. Estimated time to finish: 1 hour, 4 minutes and 28.44 seconds"

if [ "${FAIL:-}" = "${config}" ]; then echo "Error: training failed; see train.log" >&2; exit 1; fi
for _ in $(seq "${WAIT:-0}"); do [ "$(wc -l < times)" -lt 2 ] || break; sleep 0.1; done

echo "  2epoch results: recall_mean_at_1=0.9"
say "8: inference with valid.ave.pth -> exp/speechclip_${config}${seed}/inference_x"

for name in dev test; do echo "(main) inference on mini${seed}_${name}, log: some.log"; done

say "9: scoring -> exp/speechclip_${config}${seed}/inference_x/RESULTS.md"
echo "| a table | that is for the log |"
echo "end ${config}" >> times
"""
PYTHON = '#!/bin/sh\necho "$*" > compared\necho "the table"\n'
SYSTEMS = ("mini_hybrid_plus", "mini_hybrid_plus_annealed")


class Demo:
    """A copied recipe with stand-ins, on a machine with so many processors."""

    def __init__(self, root: Path, *, processors: int = 2) -> None:
        self.root, self.recipe = root, copy_recipe(root)
        (self.recipe / "run.sh").write_text(FAKE_RUN)
        self.bin = root / ".venv" / "bin"
        self.bin.mkdir(parents=True)
        (self.bin / "activate").touch()
        for name, text in (("python", PYTHON), ("nproc", f"#!/bin/sh\necho {processors}\n")):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def start(self, *options: str, **variables: str) -> subprocess.Popen[str]:
        command = ["scripts/demo.sh", "--python", str(self.bin / "python"), *options]
        path = f"{self.bin}:{os.environ['PATH']}"
        environment = {"PATH": path, "SPEECHCLIP_CALLED_FROM": str(self.root), **variables}
        return subprocess.Popen(
            command,
            cwd=self.recipe,
            env={**os.environ, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *options: str, **variables: str) -> tuple[int, list[str], str]:
        """Exit status, lines of the output, and errors."""
        process = self.start(*options, **variables)
        output, errors = process.communicate(timeout=PATIENCE)
        return process.returncode, output.splitlines(), errors

    def read(self, name: str) -> list[str]:
        return (self.recipe / name).read_text().splitlines()


@pytest.fixture
def make_demo(tmp_path: Path) -> Callable[..., Demo]:
    return lambda **machine: Demo(tmp_path, **machine)


def test_both_are_trained_at_the_same_time_and_compared(make_demo: Callable[..., Demo]) -> None:
    demo = make_demo()
    status, lines, errors = demo.run("--seed", "3", WAIT="600")
    assert (status, errors) == (0, "")
    data, *trainings = demo.read("calls")
    assert data.endswith("--corpus mini --stage 1 --stop_stage 6")
    assert all("--seed 3" in call for call in (data, *trainings))
    for system in SYSTEMS:
        (call,) = [call for call in trainings if f"{system}.yaml" in call]
        assert call.endswith("--stage 7 --stop_stage 10 --inference_nj 1")
    assert [line.split()[0] for line in demo.read("times")] == ["begin", "begin", "end", "end"]

    assert "at the same time: about ten minutes" in lines[0]
    assert lines[1:3] == [
        "mini: data preparation of mini (local/data.sh)",
        "mini: small CLIP: 62/480 step after 1 minute and 5 seconds",
    ]
    for title in ("hybrid+", "hybrid+ annealed"):
        assert [line for line in lines if line.startswith(f"{title}: ")] == [
            f"{title}: training",
            f"{title}: epoch 1 of 2, R@1 on dev: 45.4 %, about 64 min left",
            f"{title}: epoch 2 of 2, R@1 on dev: 90.0 %",
            f"{title}: inference",
            f"{title}: scoring",
        ]
    assert not any("that is for the log" in line for line in lines)
    assert "| a table | that is for the log |" in demo.read("exp/demo/hybrid_plus.log")
    folders = [f"exp/speechclip_{system}_seed3/inference_x" for system in SYSTEMS]
    (compared,) = demo.read("compared")
    assert compared.endswith(
        f"recipe compare {' '.join(folders)} --data_dir dump/raw/mini_seed3_test "
        "--page exp/demo/compare.html"
    )
    end = lines[lines.index("the table") :]
    assert end[3] == "    source .venv/bin/activate"
    assert (
        end[4].startswith("    make page ONLY=hybrid_plus_annealed_seed3 ")
        and "speechclip index" in end[5]
    )


def test_on_one_core_they_are_trained_one_after_the_other(make_demo: Callable[..., Demo]) -> None:
    demo = make_demo(processors=1)
    status, lines, _ = demo.run(FAIL=SYSTEMS[0])
    assert status == 1  # the other is trained all the same
    assert "one core" in lines[0] and "one after the other" in lines[0]
    assert demo.run()[0] == 0
    times = [f"{event} {system}" for system in SYSTEMS for event in ("begin", "end")]
    assert demo.read("times") == [times[0], *times[2:], *times]


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_alone(make_demo: Callable[..., Demo], system: str) -> None:
    demo = make_demo()
    name = system.removeprefix("mini_")
    status, lines, _ = demo.run("--only", name)
    assert status == 0
    assert demo.read("times") == [f"begin {system}", f"end {system}"]
    assert "at the same time" not in lines[0]
    assert any(line.startswith(f"    make page ONLY={name} ") for line in lines)
    (compared,) = demo.read("compared")
    assert compared.count("inference_x") == 1
    assert "--data_dir dump/raw/mini_test " in compared


def test_a_training_that_fails_is_named_with_its_log(make_demo: Callable[..., Demo]) -> None:
    demo = make_demo()
    status, lines, errors = demo.run(FAIL=SYSTEMS[1])
    assert status == 1
    assert re.search(
        r"error: hybrid\+ annealed failed; see egs2/speechclip_plus/exp/demo/"
        r"hybrid_plus_annealed\.log, which ends with:\nError: training failed; see train\.log\n",
        errors,
    )
    assert "hybrid+: scoring" in lines  # the other is not stopped
    assert not (demo.recipe / "compared").exists()


def test_wrong_options_are_refused(make_demo: Callable[..., Demo]) -> None:
    status, _, errors = make_demo().run("--only", "hybrid")
    assert status == 2
    assert "--only takes hybrid_plus or hybrid_plus_annealed, not 'hybrid'" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_both(make_demo: Callable[..., Demo], number: signal.Signals) -> None:
    demo = make_demo()
    pids = demo.recipe / "pids"
    process = demo.start(HANG=str(pids))
    try:
        assert wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2)
        began = time.monotonic()
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 128 + number
        assert time.monotonic() - began < 60  # the stand-ins would take longer
        assert "demo: stopped; start it again to continue" in errors
        assert not any(is_running(int(pid)) for pid in pids.read_text().split())
    finally:
        process.kill()
