"""Runs SUPERB for any upstream: trains, evaluates, and prints the table.

Example:
    python -m s3prl_upstream.superb run data.yaml exp/superb \
        --upstream speechclip_plus=MODEL --upstream speechclip_plus_encoder=MODEL --upstream fbank
    python -m s3prl_upstream.superb show exp/superb

``run`` needs a data.yaml with the data sets' paths, see docs/s3prl.md. A stopped run resumes, and
runs with a result are skipped.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.small_files import read_yaml
from s3prl_upstream.superb.run import RunError, Settings, Upstream, run_task
from s3prl_upstream.superb.table import read_results, table
from s3prl_upstream.superb.tasks import TASKS

logger = logging.getLogger(__name__)


def read_data(path: Path) -> dict[str, dict[str, object]]:
    """Reads the ``-o`` options of each task.

    Raises:
        ValueError: If the file has another form or names an unknown task.
    """
    content = read_yaml(path)
    tasks = content.get("tasks") if isinstance(content, dict) else None
    if not isinstance(tasks, dict) or not set(tasks) <= set(TASKS):
        raise ValueError(
            f"{path}: expected a mapping 'tasks' of {', '.join(TASKS)} to options such as "
            "config.downstream_expert.datarc.file_path: PATH"
        )
    return {name: options or {} for name, options in tasks.items()}


def get_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m s3prl_upstream.superb", description=__doc__.splitlines()[0]
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train and evaluate")
    run.add_argument("data", type=Path, help="data.yaml")
    run.add_argument("directory", type=Path, help="folder for the experiments")
    run.add_argument(
        "--upstream",
        action="append",
        required=True,
        help="NAME, NAME=CHECKPOINT or LABEL:NAME=CHECKPOINT; repeatable",
    )
    text = "updates, each of one batch, for a trial (default: SUPERB's)"
    run.add_argument("--steps", type=int, help=text)
    run.add_argument("--seed", type=int, default=1337)
    run.add_argument("--device", help="cpu or cuda (default: cuda where there is a GPU)")
    run.add_argument("--workers", type=int, help="processes that read data")
    show = commands.add_parser("show", help="print the table")
    show.add_argument("directory", type=Path, help="folder of the experiments")
    run.add_argument(
        "--tasks", nargs="+", choices=list(TASKS), metavar="TASK", help="default: all in data.yaml"
    )
    return parser


@command_errors("superb")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one of the commands; exit code 1 if a run failed."""
    args = get_parser().parse_args(cmd)
    failures = _run_all(args) if args.command == "run" else []
    results = read_results(args.directory)
    if not results and not failures:
        raise ValueError(f"{args.directory}: no results in this folder")
    print(table(results))
    if failures:
        raise SystemExit("superb: error: " + "; ".join(failures))


def _run_all(args: argparse.Namespace) -> list[str]:
    data = read_data(args.data)
    settings = Settings(
        directory=args.directory,
        steps=args.steps,
        seed=args.seed,
        device=args.device,
        workers=args.workers,
    )
    upstreams = [Upstream.parse(text) for text in args.upstream]
    failures = []
    for name in args.tasks or list(data):
        if name not in data:
            failures.append(f"{args.data} has no {name}")
            continue
        for upstream in upstreams:
            try:
                metrics = run_task(TASKS[name], upstream, data[name], settings)
                logger.info(f"{upstream.label} {name}: {metrics}")
            except RunError as error:
                logger.error(f"{upstream.label} {name}: {error}")
                failures.append(f"{upstream.label} {name}: {error}")
    return failures


if __name__ == "__main__":
    main()
