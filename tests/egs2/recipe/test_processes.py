"""Runs that are stopped, killed, or started twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.egs2.recipe.test_speechclip_sh import SETS, Project

MINI = ("--corpus", "mini")  # as run.sh has it
TRAINING = (*MINI, "--stage", "7", "--stop_stage", "7")
PATIENCE = 90.0  # seconds, on a busy machine


def wait_for(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


class Training:
    """A run whose training does not end."""

    def __init__(self, project: Project, *options: str) -> None:
        pids = project.recipe / "pids"
        pids.unlink(missing_ok=True)
        variables = {"CALLS": str(project.calls_file), "FAIL": "", "HANG": str(pids)}
        environment = {**os.environ, **variables}
        command = ["./run.sh", "--python", str(project.python)]
        command += ["--train_set", SETS[0], "--valid_set", SETS[1], "--test_sets", SETS[2]]
        command += ["--clip_model", "ViT-B-32-quickgelu", "--clip_pretrained", "openai"]
        command += ["--dump_speech_states", "false", *TRAINING, *options]
        self.process = subprocess.Popen(
            command, cwd=project.recipe, env=environment, stderr=subprocess.PIPE, text=True
        )
        ready = wait_for(
            lambda: (
                self.process.poll() is not None
                or (pids.exists() and len(pids.read_text().split()) == 2)
            )
        )
        assert ready and self.process.poll() is None, self.process.communicate(timeout=5)[1]
        self.workers = [int(pid) for pid in pids.read_text().split()]

    def end_all(self) -> None:
        for process in [*self.workers, self.process.pid]:
            if is_running(process):
                os.kill(process, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("processes"))
    result = project.run(*MINI, "--stop_stage", "6")
    assert result.returncode == 0, result.stdout + result.stderr
    return project


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_stop_of_run_sh_alone_ends_all_it_has_started(
    project: Project, number: signal.Signals
) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("nohup ignores this signal, and what it starts does, too")
    training = Training(project)
    try:
        os.kill(training.process.pid, number)
        code = -number if number == signal.SIGKILL else 128 + number  # bash cannot catch that one
        assert training.process.wait(timeout=PATIENCE) == code
        assert wait_for(lambda: not any(map(is_running, training.workers)))
    finally:
        training.end_all()


@pytest.mark.slow
def test_a_second_run_is_told_who_is_there_and_a_killed_one_is_not(project: Project) -> None:
    training = Training(project, "--speechclip_tag", "one")
    exp = project.recipe / "exp" / "speechclip_one"
    part = exp / ".checkpoint.f242.part.pth"  # a name is hexadecimal
    part.write_text("half")
    packing = exp / ".model.4242.part_x"  # a killed packing's folder
    (packing / "clip").mkdir(parents=True)
    try:
        second = project.run(*TRAINING, "--speechclip_tag", "one")
        assert second.returncode == 1
        assert "exp/speechclip_one: in use by another run" in second.stderr
        assert f"on {os.uname().nodename}" in second.stderr and "--speechclip_tag one" in (
            second.stderr
        )
        data = project.run("--stop_stage", "6")
        assert data.returncode == 1
        assert f"the data of {SETS[0]}: in use by another run" in data.stderr
        shared = project.run("--stop_stage", "6", "--train_set", "tiny_other")
        assert f"the data of {SETS[1]}: in use by another run" in shared.stderr
        # another model may be trained meanwhile
        assert project.run(*TRAINING, "--speechclip_tag", "two").returncode == 0
        assert part.exists()
    finally:
        training.end_all()
    assert wait_for(lambda: project.run(*TRAINING, "--speechclip_tag", "one").returncode == 0)
    assert not part.exists() and not packing.exists()


def test_a_read_only_folder_is_told_before_anything_starts(project: Project) -> None:
    result = project.run("--stage", "4", "--stop_stage", "4", "--dumpdir", "/proc/dump")
    assert result.returncode == 1
    assert "/proc/dump cannot be written to: the file system is read-only" in result.stderr
