"""The shell helpers that keep the names and calls of Kaldi's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[3] / "egs2" / "speechclip_plus"
RUN = str(RECIPE / "utils" / "run.pl")


def parse(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = f"""set -euo pipefail
    nj=4 flag=false tag= foo_bar=1 help_message="the help"
    . {RECIPE}/utils/parse_options.sh
    echo "nj=$nj flag=$flag tag=$tag foo_bar=$foo_bar rest=$*" """
    return subprocess.run(
        ["bash", "-c", script, "x.sh", *arguments], text=True, capture_output=True, timeout=20
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "nj=4 flag=false tag= foo_bar=1 rest="),
        (["--nj", "8", "--foo-bar", "a b"], "nj=8 flag=false tag= foo_bar=a b rest="),
        (["--foo_bar", "", "--flag", "true"], "nj=4 flag=true tag= foo_bar= rest="),
        (["--tag", "$(date)", "x", "--nj"], "nj=4 flag=false tag=$(date) foo_bar=1 rest=x --nj"),
        (["--", "--nj", "8"], "nj=4 flag=false tag= foo_bar=1 rest=--nj 8"),
    ],
)
def test_parse_options(arguments: list[str], expected: str) -> None:
    assert parse(*arguments).stdout.strip() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--unknown", "1"], "unknown option '--unknown'"),
        (["--flag", "yes"], "takes true or false, not 'yes'"),
        (["--nj"], "'--nj' needs a value"),
        (["--nj=8"], "write '--nj 8'"),
        (["--n;j", "8"], "is not an option"),
    ],
)
def test_parse_options_errors(arguments: list[str], message: str) -> None:
    result = parse(*arguments)
    assert result.returncode == 2
    assert message in result.stderr


def test_parse_options_help_and_config(tmp_path: Path) -> None:
    assert parse("--help").stdout == "the help\n"
    (tmp_path / "settings").write_text("nj=3\n")
    assert parse("--config", str(tmp_path / "settings")).stdout.startswith("nj=3 ")


def test_run_pl_array(tmp_path: Path) -> None:
    command = [RUN, "--gpu", "0", "--mem", "1G", "JOB=2:4", str(tmp_path / "d" / "x.JOB.log")]
    command += ["sh", "-c", 'echo "$0 $1"; cat', "a b JOB", "JOB-JOB"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL).returncode == 0
    for job in (2, 3, 4):
        log = (tmp_path / "d" / f"x.{job}.log").read_text().splitlines()
        assert f"a b {job} {job}-{job}" in log
        assert any(line.startswith("# Started at") for line in log)
        assert log[-1].startswith("# Ended (code 0)")


def test_run_pl_failure_names_the_log(tmp_path: Path) -> None:
    command = [
        RUN,
        "JOB=1:3",
        str(tmp_path / "x.JOB.log"),
        "sh",
        "-c",
        "exit $((JOB == 2 ? 7 : 0))",
    ]
    result = subprocess.run(command, text=True, capture_output=True)
    assert result.returncode == 1
    assert "failed jobs: 1 of 3" in result.stderr
    assert str(tmp_path / "x.2.log") in result.stderr
    assert "# Ended (code 7)" in (tmp_path / "x.2.log").read_text()
    assert "# Ended (code 0)" in (tmp_path / "x.3.log").read_text()


def test_run_pl_without_array_leaves_job_alone(tmp_path: Path) -> None:
    assert subprocess.run([RUN, str(tmp_path / "x.log"), "echo", "JOB=1"]).returncode == 0
    assert "\nJOB=1\n" in (tmp_path / "x.log").read_text()
    bad = subprocess.run([RUN, "JOB=1:2", str(tmp_path / "x.log"), "true"], capture_output=True)
    assert bad.returncode == 2


def test_run_pl_limits_parallel_jobs(tmp_path: Path) -> None:
    script = f"echo start >> {tmp_path}/t; sleep 0.2; echo end >> {tmp_path}/t"
    command = [RUN, "--max-jobs-run", "1", "JOB=1:3", str(tmp_path / "x.JOB.log"), "sh", "-c"]
    assert subprocess.run([*command, script]).returncode == 0
    assert (tmp_path / "t").read_text().split() == ["start", "end"] * 3


def test_run_pl_stop_reaches_the_jobs(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [RUN, str(tmp_path / "x.log"), "sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 600"]
    )
    deadline = time.monotonic() + 90
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=90) != 0
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the job outlived run.pl")


def test_slurm_pl_submits_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"
    # a scheduler that runs the two jobs of the array at once
    sbatch.write_text(
        '#!/bin/bash\necho "$@" > args\n'
        "for SLURM_ARRAY_TASK_ID in 1 2; do export SLURM_ARRAY_TASK_ID\n"
        'bash "${@: -1}" > "job.$SLURM_ARRAY_TASK_ID.out" || code=1; done; exit ${code:-0}\n'
    )
    sbatch.chmod(0o755)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "slurm.conf").write_text((RECIPE / "conf" / "slurm.conf").read_text())
    (tmp_path / "path.sh").write_text("export FROM_PATH_SH=yes\n")
    command = [str(RECIPE / "utils" / "slurm.pl"), "--gpu", "2", "--mem", "4G"]
    command += ["--num_threads", "2", "JOB=1:2"]  # which ESPnet says for two GPUs
    command += ["logs/x.JOB.log", "sh", "-c", 'echo "$FROM_PATH_SH $0" JOB; test JOB != 3', "a  b"]
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    result = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr
    arguments = (tmp_path / "args").read_text()
    for option in (
        "--export=PATH,PYTHONPATH,HF_HOME",
        "--time 24:00:00",
        "--gres=gpu:2",
        "--mem-per-cpu 4G",
        "--array=1-2",
        "x.%a.log",
    ):
        assert option in arguments
    # sbatch takes the last of two
    assert re.findall(r"--cpus-per-task (\d+)", arguments) == ["2", "8"]
    assert "yes a  b 2\n" in (tmp_path / "job.2.out").read_text()
    command[-2] = "exit 1"
    failed = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert failed.returncode == 1
    assert "logs/x.JOB.log" in failed.stderr or "logs/x.%a.log" in failed.stderr
    sbatch.write_text("#!/bin/bash\necho sbatch: error: no such partition >&2; exit 1\n")
    refused = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert refused.stderr.startswith("sbatch: error: no such partition\n")


def test_options_are_printed_with_comments_and_defaults(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text(
        '# What it does.\nset -e\n\n# First\nnj=4   # jobs, e.g. 2\nseeds="0 1"  # of all\n\n'
        "# Second\ntag=  # name (required)\nN=1\nhelp_message=x\nlater=1  # not an option\n"
    )
    script = str(RECIPE / "scripts" / "utils" / "print_options.sh")
    shown = subprocess.run([script, "x.sh"], cwd=tmp_path, text=True, capture_output=True).stdout
    assert shown.splitlines() == [
        *("", "First"),
        "    --nj                   jobs, e.g. 2 (default: 4)",
        "    --seeds                of all (default: 0 1)",
        *("", "Second"),
        "    --tag                  name (required)",
    ]
