"""A trained model as one file: a zip of the directory that loads with pip packages alone.

The directory is that of :mod:`espnet_plugin.pretrained.stored_model`, with the whole configuration
of the training. Beside it, ``meta.yaml`` tells ESPnet's ``ModelDownloader`` which files
``SpeechCLIPInference`` takes.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from espnet_plugin.pretrained.choices import take_choices
from espnet_plugin.pretrained.storage import open_model
from espnet_plugin.pretrained.stored_model import CONFIG_FILE, TRAINED_FILE, write_stored
from espnet_plugin.utils.atomic import atomic_path
from espnet_plugin.utils.scratch import scratch_folder

META_FILE = "meta.yaml"
META = {
    "files": {"speechclip_model_file": TRAINED_FILE},
    "yaml_files": {"speechclip_train_config": CONFIG_FILE},
}


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
        model_file: Path of the checkpoint; links are followed.
        outpath: Path of the archive to write, ``.zip``.
        options: Other files (results, a licence), which are put beside ``config.yaml``, each once.
        choices: ``choices.json`` of stage 9, which is copied beside the weights. By default it is
            the one beside the checkpoint, if there is one.

    Returns:
        The path of the archive, for ``load_speechclip`` and ``SpeechCLIP.from_pretrained``.

    Raises:
        FileNotFoundError: If a file is missing, including those that the configuration names.
        ValueError: If checkpoint or choices cannot be read, or two files have the same name.
    """
    for path in (train_config, model_file, *options, *([choices] if choices else [])):
        if not Path(path).is_file():
            raise FileNotFoundError(f"No such file to pack: {path}")
    outpath = Path(outpath).absolute()
    outpath.parent.mkdir(parents=True, exist_ok=True)
    with (
        open_model(
            model_file, train_config, trusted=True
        ) as stored,  # nothing that it names is built
        scratch_folder(outpath.parent, name=outpath.stem) as folder,
    ):
        chosen = take_choices({}, Path(choices)) if choices else stored.choices
        weights = stored.read_weights()
        packed = write_stored(folder, stored.config, weights, chosen)
        packed |= {Path(train_config).resolve(), Path(model_file).resolve()}
        (folder / META_FILE).write_text(yaml.safe_dump(META), encoding="utf-8")
        for path in map(Path, options):
            if path.resolve() in packed:
                continue
            if (folder / path.name).exists():
                raise ValueError(f"{path}: the package has another {path.name}; rename the file")
            shutil.copyfile(path, folder / path.name)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        with atomic_path(outpath) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for path in files:
                archive.write(path, path.relative_to(folder))
    return outpath
