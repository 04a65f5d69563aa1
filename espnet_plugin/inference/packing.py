"""A trained model as one file that loads with pip packages alone.

The archive is ESPnet's: ``meta.yaml``, ``config.yaml``, ``model.pth``, and beside them the local
files that the configuration names, by paths relative to ``config.yaml``. What the configuration
names on a hub stays a name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from espnet2.main_funcs import pack_funcs

from espnet_plugin.pretrained.choices import CHOICES_FILE, take_choices, write_choices
from espnet_plugin.pretrained.storage import place_teachers
from espnet_plugin.pretrained.storage_format import (
    TEACHER_DIRECTORIES,
    experiment_directories,
    read_config,
    resolve_paths,
)
from espnet_plugin.teachers.weights import read_pickle
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.scratch import scratch_folder

# Names of the constructor's arguments, by which ESPnet hands the files over.
CONFIG_KEY, MODEL_KEY = "speechclip_train_config", "speechclip_model_file"


def pack_model(
    train_config: str | Path,
    model_file: str | Path,
    outpath: str | Path,
    *,
    options: Sequence[str | Path] = (),
    choices: str | Path | None = None,
) -> Path:
    """Packs a checkpoint with all local files that it needs.

    Args:
        train_config: ``config.yaml`` of the experiment.
        model_file: Checkpoint; links are followed.
        outpath: Archive to write, ``.zip``.
        options: Other files (results, a licence), put beside ``config.yaml``. Files are
            packed once.
        choices: ``choices.json`` of stage 9, which is copied beside the weights; None: the one
            beside the checkpoint, if there is one.

    Returns:
        The archive, for ``load_speechclip`` and ``SpeechCLIP.from_pretrained``.

    Raises:
        FileNotFoundError: If a file is missing, including those that the configuration names.
        ValueError: If the checkpoint or the choices cannot be read, or two files have the same
            name.
    """
    for path in (train_config, model_file, *options, *([choices] if choices else [])):
        if not Path(path).is_file():
            raise FileNotFoundError(f"No such file to pack: {path}")
    read_pickle(Path(model_file))  # fails if it is damaged
    train_config, outpath = Path(train_config), Path(outpath).absolute()
    config = resolve_paths(read_config(train_config), *experiment_directories(train_config))
    chosen = take_choices(config, Path(choices or Path(model_file).with_name(CHOICES_FILE)))
    outpath.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(outpath.parent, name=outpath.stem) as staging:
        config, packed = place_teachers(config, staging, place=_place)
        packed |= {train_config.resolve(), Path(model_file).resolve()}
        extra = [Path(path) for path in options if Path(path).resolve() not in packed]
        _place(Path(model_file), staging / "model.pth")
        write_choices(staging, chosen)
        with_choices = [CHOICES_FILE] if (staging / CHOICES_FILE).is_file() else []
        taken = {"config.yaml", "meta.yaml", *os.listdir(staging)}
        for path in extra:
            if path.name in taken:
                raise ValueError(f"{path}: the package has another {path.name}; rename the file")
            taken.add(path.name)
            _place(path, staging / path.name)
        (staging / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        folders = [name for name in TEACHER_DIRECTORIES.values() if (staging / name).is_dir()]
        with atomic_path(outpath) as temporary, _working_directory(staging):
            pack_funcs.pack(
                files={MODEL_KEY: "model.pth"},
                yaml_files={CONFIG_KEY: "config.yaml"},
                option=[*folders, *with_choices, *(path.name for path in extra)],
                outpath=temporary,
            )
    return outpath


def _place(source: Path, target: Path) -> None:
    """Links a file into the staging directory, or copies it if it is on another disk."""
    try:
        os.link(source.resolve(), target)
    except FileExistsError:
        raise  # a copy would overwrite the target of a link
    except OSError:
        shutil.copyfile(source, target)


@contextlib.contextmanager
def _working_directory(directory: Path) -> Iterator[None]:
    # ESPnet names archive members relative to the working directory
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
