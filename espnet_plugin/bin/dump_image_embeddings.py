r"""Compute each image's CLIP embedding once, float32 and L2-normalised.

Unreadable images are skipped, reported and listed in ``unreadable_images.txt``. A job that was
interrupted continues where it stopped.

Example:
    python -m espnet_plugin.bin.dump_image_embeddings --image_scp data/train/image.scp \
        --part JOB/8 --output_dir dump/clip_x \
        --output_scp dump/clip_x/logdir/image_embedding.JOB.scp \
        --clip_model ViT-B-32-quickgelu --clip_pretrained openai
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from espnet2.utils.types import str_or_none

from espnet_plugin.compat import get_commandline_args
from espnet_plugin.data.array_store import ArrayStore
from espnet_plugin.data.record import make_record, write_record
from espnet_plugin.data.scp import part_of, read_scp
from espnet_plugin.utils.command import add_clip_arguments, add_part, command_errors, positive


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--image_scp", required=True, help="image id → file")
    parser.add_argument("--output_dir", required=True, help="where <image id>.npy go")
    parser.add_argument(
        "--output_scp", type=str_or_none, help="list to write; OUTPUT_DIR/image_embedding[.I].scp"
    )
    add_part(parser)
    add_clip_arguments(parser)
    parser.add_argument("--batch_size", type=positive, default=64, help="images at a time")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    return parser


@command_errors("dump_image_embeddings")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs one job; a fault of the data ends it with one message and exit code 1."""
    print(get_commandline_args(), file=sys.stderr)
    args = get_parser().parse_args(cmd)
    from espnet_plugin.inference.clip import chosen_clip, embed_pixels, read_pixels
    from espnet_plugin.inference.dump import dump_arrays
    from espnet_plugin.pretrained.fingerprint import model_files

    images = part_of(read_scp(args.image_scp), args.part)
    job = str(args.part[0]) if args.part else ""
    scp = args.output_scp or Path(args.output_dir) / f"image_embedding{job and '.'}{job}.scp"
    made_of = dict.fromkeys(("image_scp", "model", "clip_model", "clip_pretrained"))
    if args.model is not None:
        made_of |= model_files(args.model)
    else:
        made_of |= {"clip_model": args.clip_model, "clip_pretrained": args.clip_pretrained}
    # the images have a note each, so the folder may get more of them
    record = make_record("image embeddings", vars(args), inputs=made_of)
    store = ArrayStore(args.output_dir, images, maker=record, job=job or "1")
    unreadable: dict[str, str] = {}
    if todo := store.missing(images):
        clip = chosen_clip(args, image_tower=True, text_tower=False)
        clip.to("cuda" if args.ngpu > 0 else "cpu")
        starts = range(0, len(todo), args.batch_size)
        unreadable = dump_arrays(
            images,
            store,
            batches=[todo[start : start + args.batch_size] for start in starts],
            read=partial(read_pixels, clip.preprocess),
            encode=partial(embed_pixels, clip),
            num_workers=args.num_workers,
            what="images",
            smaller="--batch_size",
        )
    store.write_list(scp, images, unreadable, what="images")
    write_record(args.output_dir, record)


if __name__ == "__main__":
    main()
