r"""Embeddings and keywords of a set's utterances by a trained model, and merging of jobs.

Example:
    python -m espnet_plugin.bin.speechclip_inference \
        --output_dir EXP/inference_x/test/logdir/output.1 \
        --part 1/8 \
        --data_path_and_name_and_type dump/raw/test/wav.scp,speech,sound \
        --text dump/raw/test/text --utt2image dump/raw/test/utt2image \
        --image_scp dump/clip_x/image_embedding.scp --shape_file dump/raw/test/utt2num_samples \
        --speechclip_train_config EXP/config.yaml --speechclip_model_file EXP/valid.x.ave.pth
    python -m espnet_plugin.bin.speechclip_inference --output_dir EXP/inference_x/test \
        --merge EXP/inference_x/test/logdir/output.*
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from espnet2.utils import config_argparse
from espnet2.utils.types import str2triple_str, str_or_none

from espnet_plugin.compat import get_commandline_args
from espnet_plugin.data.datadir import RECORDINGS
from espnet_plugin.data.record import make_record
from espnet_plugin.data.scp import read_scp
from espnet_plugin.utils.command import add_model_arguments, add_part, command_errors, positive
from espnet_plugin.utils.progress import counted


def inference(args: argparse.Namespace) -> None:
    """Runs one job."""
    from espnet2.torch_utils.set_all_random_seed import set_all_random_seed

    from espnet_plugin.inference.infer_set import infer_set, selected_keys
    from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
    from espnet_plugin.pretrained.fingerprint import model_files

    set_all_random_seed(args.seed)
    data = args.data_path_and_name_and_type
    keys = selected_keys(data, args.part)
    named = ("text", "utt2image", "image_scp", "shape_file")
    inputs = dict.fromkeys(("data_path_and_name_and_type", "model", "speechclip_train_config"))
    inputs |= {name: path for path, name, _ in data}
    inputs |= {name: getattr(args, name) for name in named}
    shared = Path(data[0][0]).with_name(RECORDINGS)
    inputs[RECORDINGS] = shared if shared.exists() else None
    inputs |= model_files(args.model, args.speechclip_train_config)
    record = make_record("inference", vars(args), inputs=inputs)
    model = SpeechCLIPInference(
        args.speechclip_train_config,
        args.model,
        device="cuda" if args.ngpu >= 1 else "cpu",
        dtype=args.dtype,
        trust_remote_code=args.trust_remote_code,
    )
    outputs = infer_set(
        model,
        data,
        keys=keys,
        captions=read_scp(args.text) if args.text else None,
        utt2image=read_scp(args.utt2image) if args.utt2image else None,
        image_scp=read_scp(args.image_scp) if args.image_scp else None,
        shape_file=args.shape_file,
        batch_size=args.batch_size,
        batch_seconds=args.batch_seconds,
        max_seconds=args.max_seconds,
        num_workers=args.num_workers,
    )
    outputs.made_from = record
    outputs.write(args.output_dir)
    logging.info(f"{counted(len(keys), 'utterance')} → {args.output_dir}")


def get_parser() -> argparse.ArgumentParser:
    """The command line; ``--config`` takes a YAML file with the same options."""
    parser = config_argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output_dir", type=str_or_none, help="Where the files of the set go")
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--seed", type=int, default=0, help="Random seed")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=["float32", "float16", "bfloat16"],
        help="Precision of the computation; the weights stay float32",
    )
    parser.add_argument("--num_workers", type=int, default=1, help="Processes that read files")
    parser.add_argument("--batch_size", type=positive, default=16, help="Utterances at a time")
    parser.add_argument(
        "--batch_seconds", type=float, default=160.0, help="Speech at a time, at most, with padding"
    )
    parser.add_argument(
        "--max_seconds",
        type=float,
        default=400.0,
        help="Only the beginning of longer speech is used, with a warning",
    )
    parser.add_argument(
        "--merge",
        nargs="+",
        default=None,
        metavar="DIR",
        help="Put the outputs of these jobs together instead of running inference",
    )
    group = parser.add_argument_group("Input data related")
    group.add_argument(
        "--data_path_and_name_and_type",
        type=str2triple_str,
        action="append",
        default=[],
        help="wav.scp,speech,sound",
    )
    add_part(group)
    group.add_argument("--text", type=str_or_none, help="Captions, for CLIP's own embeddings")
    group.add_argument("--utt2image", type=str_or_none, help="Image id of each utterance")
    group.add_argument("--image_scp", type=str_or_none, help="Image id → embedding (.npy)")
    group.add_argument("--shape_file", type=str_or_none, help="utt2num_samples")
    model = add_model_arguments(parser, "--model_tag", "--speechclip_model_file", required=False)
    model.add_argument("--speechclip_train_config", help="config.yaml [beside the checkpoint]")
    return parser


@command_errors("speechclip_inference")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs a job or merges; a fault of the data ends it with one message and exit code 1."""
    print(get_commandline_args(), file=sys.stderr)
    parser = get_parser()
    args = parser.parse_args(cmd)
    if args.output_dir is None:
        parser.error("--output_dir is needed")
    if args.merge is not None:
        from espnet_plugin.data.set_outputs import merge_outputs

        number = merge_outputs(args.merge, args.output_dir)
        logging.info(f"jobs: {len(args.merge)}, utterances: {number} → {args.output_dir}")
        return
    if not args.data_path_and_name_and_type:
        parser.error("--data_path_and_name_and_type is needed (or --merge)")
    inference(args)


if __name__ == "__main__":
    main()
