"""Makes a Hugging Face repository of a model, for s3prl's ``--hub huggingface``.

The repository also loads by its name: ``load_speechclip("owner/model")``, ``-k owner/model``.

Example:
    python -m s3prl_upstream.hub_repository exp/speechclip_x/model.zip my_repository
    hf upload owner/model my_repository
"""

from __future__ import annotations

import argparse
import logging
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.pretrained.names import PACKED
from espnet_plugin.pretrained.storage_format import CONFIG_FILE, TRAINED_FILE, new_directory
from espnet_plugin.utils.command import command_errors

# Our own package is on no index; a stranger could register its name there.
REQUIREMENTS = """# The code: in a checkout of speechclip-plus, pip install '.[s3prl]'
espnet>=202511
espnet-s3prl>=2026.5.14
open_clip_torch>=2.30
"""
# s3prl imports it as the top-level module "expert", from the downloaded folder.
EXPERT = '''"""Read by s3prl: run_downstream --hub huggingface -u OWNER/MODEL."""

from pathlib import Path

from s3prl_upstream.expert import UpstreamExpert as _UpstreamExpert

# not resolved: in the hub's cache, this file is a link to a folder without the model
_HERE = Path(__file__).absolute().parent


class UpstreamExpert(_UpstreamExpert):
    def __init__(self, ckpt=None, model_config=None, refresh=False, **options):
        # s3prl gives model.pt unless --upstream_model_name gives another file
        if ckpt is None or not Path(ckpt).exists():
            ckpt = _HERE / "model.zip" if (_HERE / "model.zip").exists() else _HERE
        super().__init__(ckpt, model_config, **options)
'''


def make_repository(source: str | Path, directory: str | Path, *, force: bool = False) -> None:
    """Writes the repository.

    Args:
        source: Exported model (directory) or packed model (zip).
        directory: Folder of the repository; it appears when it is complete.
        force: Replace a directory that is not empty.

    Raises:
        FileNotFoundError: If there is no such model.
        ValueError: If the source is not a model.
        FileExistsError: If the directory is not empty.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such file or directory")
    is_exported = (source / CONFIG_FILE).is_file() and (source / TRAINED_FILE).is_file()
    if not (is_exported or zipfile.is_zipfile(source)):
        raise ValueError(
            f"{source}: not an exported or packed model; pack an experiment first: "
            "python -m espnet_plugin.bin.speechclip_pack"
        )
    with new_directory(directory, force=force) as target:
        if is_exported:
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target / PACKED)
        (target / "expert.py").write_text(EXPERT, encoding="utf-8")
        (target / "requirements.txt").write_text(REQUIREMENTS, encoding="utf-8")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="exported model (directory) or packed model (zip)")
    parser.add_argument("directory", help="repository to write")
    parser.add_argument("--force", action="store_true", help="replace an existing directory")
    return parser


@command_errors("hub_repository")
def main(cmd: Sequence[str] | None = None) -> None:
    """Writes the repository; a wrong source ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    make_repository(args.source, args.directory, force=args.force)
    logging.info(f"{args.directory}: hf upload OWNER/MODEL {args.directory}")


if __name__ == "__main__":
    main()
