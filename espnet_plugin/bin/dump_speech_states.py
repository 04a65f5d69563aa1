r"""Store the hidden states of the frozen speech encoder once, which training then reads.

The size is computed, compared with the free space and printed before anything is written.

Example:
    python -m espnet_plugin.bin.dump_speech_states --wav_scp dump/raw/train/wav.scp \
        --utt2num_samples dump/raw/train/utt2num_samples \
        --part JOB/8 --output_dir dump/states_x/train \
        --output_scp dump/states_x/train/logdir/speech_states.JOB.scp \
        -- --config conf/train.yaml --speech_encoder_conf model=facebook/hubert-base-ls960
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str_or_none

from espnet_plugin.compat import get_commandline_args
from espnet_plugin.data.frame_store import FrameStore
from espnet_plugin.data.record import differences, read_record, write_record
from espnet_plugin.data.sampler_files import read_lengths
from espnet_plugin.data.scp import part_of, read_scp
from espnet_plugin.utils.command import add_part, command_errors
from espnet_plugin.utils.disk import free_space, require_space, size_text
from espnet_plugin.utils.progress import counted


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--wav_scp", required=True, help="utterance → 16 kHz mono file")
    parser.add_argument(
        "--utt2num_samples", type=str_or_none, help="samples of each utterance; beside WAV_SCP"
    )
    parser.add_argument("--output_dir", required=True, help="where the files go")
    parser.add_argument(
        "--output_scp", type=str_or_none, help="list to write; OUTPUT_DIR/speech_states[.I].scp"
    )
    add_part(parser)
    parser.add_argument("--speech_encoder", default="huggingface", help="a word, or module:Class")
    parser.add_argument(
        "--speech_encoder_conf", action=NestedDictAction, default={}, help="e.g. model=DIR_OR_NAME"
    )
    parser.add_argument(
        "--states_dtype",
        default="float16",
        choices=("float16", "int8"),
        help="int8: half the space, with a scale per frame and layer",
    )
    parser.add_argument(
        "--batch_seconds", type=float, default=60.0, help="audio at a time, padding included"
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument(
        "training",
        nargs="*",
        metavar="-- OPTION",
        help="options of the training, which then decide about the speech encoder",
    )
    return parser


@command_errors("dump_speech_states")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one job; a fault of the data ends it with one message and exit code 1."""
    print(get_commandline_args(), file=sys.stderr)
    args = get_parser().parse_args(cmd)
    from espnet_plugin.inference.speech_states import DIMENSIONS, dump_speech_states, stored_size
    from espnet_plugin.model.factory import build_speech_encoder
    from espnet_plugin.tasks.records import states_record

    listed = read_scp(args.wav_scp)
    lengths_file = args.utt2num_samples or Path(args.wav_scp).with_name("utt2num_samples")
    lengths = read_lengths([str(lengths_file)], listed)
    wavs = part_of(listed, args.part)
    config = _speech_encoder(args)
    encoder = build_speech_encoder(config)
    encoder.to("cuda" if args.ngpu > 0 else "cpu")
    job = str(args.part[0]) if args.part else ""
    scp = args.output_scp or Path(args.output_dir) / f"speech_states{job and '.'}{job}.scp"
    normalizes = encoder.backend.wants_normalized_waveforms()
    made = partial(states_record, config, normalizes=normalizes, dtype=args.states_dtype)
    record = made(recordings=args.wav_scp)
    before = read_record(args.output_dir)
    if before and (found := differences(before, record)):
        logging.info(f"{args.output_dir}: made again where it counts: {'; '.join(found)}")
    store = FrameStore(args.output_dir, listed, maker=made(), job=job or "1", shared=(DIMENSIONS,))
    store.discard_damaged(wavs)
    # of the whole list, not of this job only: the jobs of an array share the disk
    todo = {key: lengths[key] for key in store.missing(listed)}
    needed = stored_size(todo, encoder, dtype=args.states_dtype)
    what = f"The hidden states of {counted(len(todo), 'utterance')}"
    logging.info(
        f"{what} need {size_text(needed)} more; "
        f"{size_text(free_space(args.output_dir))} are free in {args.output_dir}"
    )
    require_space(args.output_dir, needed, what=what)
    unreadable = dump_speech_states(
        wavs,
        lengths,
        encoder,
        store,
        whole_set=listed,
        dtype=args.states_dtype,
        batch_seconds=args.batch_seconds,
    )
    store.write_list(scp, wavs, unreadable, what="utterances")
    write_record(args.output_dir, record)


def _speech_encoder(args: argparse.Namespace) -> dict[str, Any]:
    """Backend and options of the encoder: the training's final ones, if its options are given."""
    if args.training:
        from espnet_plugin.tasks.speechclip import SpeechCLIPTask

        args = SpeechCLIPTask.get_parser().parse_args(args.training)
    return {name: getattr(args, name) for name in ("speech_encoder", "speech_encoder_conf")}


if __name__ == "__main__":
    main()
