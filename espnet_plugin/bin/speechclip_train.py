"""Train SpeechCLIP or SpeechCLIP+.

Example:
    python -m espnet_plugin.bin.speechclip_train --config conf/train.yaml \
        --train_data_path_and_name_and_type dump/raw/train/wav.scp,speech,sound \
        --train_data_path_and_name_and_type dump/raw/train/image_feat.scp,image,npy \
        --train_data_path_and_name_and_type dump/raw/train/utt2image_id,image_id,text_int \
        --train_shape_file dump/raw/train/utt2num_samples ... --output_dir exp/speechclip
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from espnet_plugin.utils.command import command_errors

if TYPE_CHECKING:
    import argparse

    from espnet_plugin.tasks.speechclip import SpeechCLIPTask


def get_parser() -> argparse.ArgumentParser:
    """The command line, as ESPnet's tasks have it."""
    return _task().get_parser()


def main(cmd: Sequence[str] | None = None) -> None:
    """Trains, or prints the configuration with ``--print_config``."""
    cmd = list(sys.argv[1:] if cmd is None else cmd)
    with command_errors("speechclip_train"):
        from espnet_plugin.tasks.check import training_options

        training_options(cmd)
    _task().main(cmd=cmd)


def _task() -> type[SpeechCLIPTask]:
    from espnet_plugin.compat import imports_off_stdout

    with imports_off_stdout():
        from espnet_plugin.tasks.speechclip import SpeechCLIPTask
    return SpeechCLIPTask


if __name__ == "__main__":
    main()
