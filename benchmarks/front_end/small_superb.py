r"""Makes small corpora in the layouts of SUPERB's data sets from the mini corpus's voices.

They show that a task trains and evaluates; their scores are not SUPERB scores.

Example:
    python -m benchmarks.front_end.small_superb egs2/speechclip_plus/downloads/mini small_superb
    python -m s3prl_upstream.superb run small_superb/data.yaml exp/superb --steps 200 \
        --upstream speechclip_plus=MODEL --upstream hf_hubert_custom=HUBERT --upstream fbank
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from benchmarks.front_end import sequence_tasks, speaker_tasks, utterance_tasks
from benchmarks.front_end.voices import read_recordings
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors

logger = logging.getLogger(__name__)

# each writes a corpus into a folder; arguments: recordings, folder, training utterances
WRITERS = {
    "PR": sequence_tasks.phone_recognition,
    "ASR": sequence_tasks.speech_recognition,
    "KS": utterance_tasks.speech_commands,
    "IC": utterance_tasks.fluent_commands,
    "SID": utterance_tasks.voxceleb1,
    "ASV": speaker_tasks.speaker_verification,
    "SD": speaker_tasks.diarization,
    "ER": utterance_tasks.emotion,
    "SF": sequence_tasks.slot_filling,
    "QbE": speaker_tasks.query_by_example,
}


def make_small_corpora(mini: Path, directory: Path, *, tasks: Sequence[str], size: int) -> Path:
    """Writes small corpora in the real layouts and a data.yaml that names them.

    Args:
        mini: A mini corpus (downloads/mini of the recipe).
        directory: Folder of the corpora.
        tasks: Abbreviations.
        size: Training utterances of each, approximately.

    Returns:
        The data.yaml.
    """
    recordings = read_recordings(mini)
    options = {}
    for name in tasks:
        root = directory.absolute() / name
        if root.exists():
            raise FileExistsError(f"{root} already exists; remove it or choose another directory")
        root.mkdir(parents=True)
        options[name] = WRITERS[name](recordings, root, size)
        logger.info(f"{name}: {root}")
    return write_data(directory, options)


def write_data(directory: Path, tasks: Mapping[str, Mapping[str, object]]) -> Path:
    """Writes a data.yaml that names the corpora by each task's options; returns it."""
    options = {
        name: {key: str(v) if isinstance(v, Path) else v for key, v in given.items()}
        for name, given in tasks.items()
    }
    path = directory / "data.yaml"
    write_text(path, yaml.safe_dump({"tasks": options}, sort_keys=False))
    return path


@command_errors("small_superb")
def main(cmd: Sequence[str] | None = None) -> None:
    """Writes the corpora."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mini", type=Path, help="the mini corpus, downloads/mini")
    parser.add_argument("directory", type=Path, help="folder of the corpora")
    parser.add_argument("--size", type=int, default=480, help="training utterances of each")
    parser.add_argument(
        "--tasks", nargs="+", choices=list(WRITERS), default=list(WRITERS), metavar="TASK"
    )
    args = parser.parse_args(cmd)
    make_small_corpora(args.mini, args.directory, tasks=args.tasks, size=args.size)


if __name__ == "__main__":
    main()
