"""Make a model's folder of a checkpoint.

The speech encoder and CLIP go into it when they are local files; names on a hub stay names.

Example:
    python -m espnet_plugin.bin.speechclip_pack --train_config EXP/config.yaml \
        --model_file EXP/valid.recall_mean_at_1.ave.pth --outpath EXP/model
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from espnet_plugin.compat import get_commandline_args
from espnet_plugin.data.record import make_record, write_record
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train_config", required=True, help="config.yaml of the experiment")
    parser.add_argument("--model_file", required=True, help="checkpoint; links are followed")
    parser.add_argument("--outpath", required=True, help="folder to write")
    parser.add_argument(
        "--option", action="append", default=[], help="another file, e.g. RESULTS.md; repeatable"
    )
    parser.add_argument(
        "--choices",
        help="choices.json of stage 9, selected on the development set: the lowest score of a "
        "keyword that the model reports, and the parallel branch's share of fusion",
    )
    return parser


@command_errors("speechclip_pack")
def main(cmd: Sequence[str] | None = None) -> None:
    """Packs; a missing file ends it with one message and exit code 1."""
    print(get_commandline_args(), file=sys.stderr)
    args = get_parser().parse_args(cmd)
    from espnet_plugin.pretrained.fingerprint import model_files
    from espnet_plugin.pretrained.packing import pack_model

    files = dict.fromkeys(("option", "outpath", "model_file", "train_config"))
    files |= {"choices": args.choices}
    files |= {f"option {number}": file for number, file in enumerate(args.option, 1)}
    files |= model_files(args.model_file, args.train_config)
    record = make_record("model", vars(args), inputs=files)
    pack_model(
        args.train_config,
        args.model_file,
        args.outpath,
        options=args.option,
        choices=args.choices,
    )
    write_record(args.outpath, record)


if __name__ == "__main__":
    main()
