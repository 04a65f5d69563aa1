"""A checkpoint of an experiment as a model's folder, which loads with pip packages alone.

The folder is that of :mod:`espnet_plugin.pretrained.stored_model`, with the whole configuration of
the training, a card and the results.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.pretrained.choices import take_choices
from espnet_plugin.pretrained.publishing import CARD_FILE, write_model_card
from espnet_plugin.pretrained.storage import open_model
from espnet_plugin.pretrained.stored_model import TRAINED_FILE, write_stored
from espnet_plugin.utils.scratch import new_directory


def pack_model(
    train_config: str | Path,
    model_file: str | Path,
    directory: str | Path,
    *,
    options: Sequence[str | Path] = (),
    choices: str | Path | None = None,
) -> None:
    """Writes a checkpoint with all local files that it needs.

    Args:
        train_config: ``config.yaml`` of the experiment.
        model_file: Path of the checkpoint; links are followed.
        directory: Directory to write, which appears when it is complete. It may be there if it is
            empty or holds an older model.
        options: Other files (results, a licence), which are put beside ``config.yaml``, each once.
        choices: ``choices.json`` of stage 9, which is copied beside the weights. By default it is
            the one beside the checkpoint, if there is one.

    Raises:
        FileExistsError: If the directory holds something else.
        FileNotFoundError: If a file is missing, including those that the configuration names.
        ValueError: If checkpoint or choices cannot be read, or two files have the same name.
    """
    for path in (train_config, model_file, *options, *([choices] if choices else [])):
        if not Path(path).is_file():
            raise FileNotFoundError(f"No such file to pack: {path}")
    directory = Path(directory)
    if directory.suffix == ".zip":
        raise ValueError(f"{directory}: a model is a folder; name it without .zip")
    older = (directory / TRAINED_FILE).is_file()
    with (
        # nothing that it names is built
        open_model(model_file, train_config, trusted=True) as stored,
        new_directory(directory, force=older) as target,
    ):
        chosen = take_choices({}, Path(choices)) if choices else stored.choices
        write_stored(target, stored.config, stored.read_weights(), chosen)
        for path in map(Path, options):
            if path.name == CARD_FILE or (target / path.name).exists():
                raise ValueError(f"{path}: the model has another {path.name}; rename the file")
            shutil.copyfile(path, target / path.name)
        write_model_card(target, target, name=directory.name)
