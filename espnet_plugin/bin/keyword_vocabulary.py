"""Write the keyword vocabulary: the CLIP sub-words that captions use, most frequent first.

Example: ``python -m espnet_plugin.bin.keyword_vocabulary --text data/flickr8k_train/text
--clip_model ViT-B-32-quickgelu --output data/token_list/clip_ViT-B-32-quickgelu/tokens.tsv``
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.keyword_vocabulary import (
    caption_lines,
    count_subwords,
    load_tokenizer,
    write_vocabulary,
)
from espnet_plugin.data.original_vocabulary import count_with_padding, original_order
from espnet_plugin.data.scp import DataError
from espnet_plugin.utils.command import command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="files of captions")
    parser.add_argument(
        "--whole_clip",
        action="store_true",
        help="every sub-word of CLIP instead, for a corpus without captions",
    )
    parser.add_argument(
        "--original",
        action="store_true",
        help="count start, end and padding too, and order the rows as the original does",
    )
    parser.add_argument("--output", type=Path, required=True, help="tokens.tsv")
    parser.add_argument("--clip_model", required=True, help="open_clip name or JSON file")
    return parser


@command_errors("keyword_vocabulary")
def main(cmd: Sequence[str] | None = None) -> None:
    """Counts and writes; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    order = None
    tokenizer = load_tokenizer(args.clip_model)
    special = {tokenizer.sot_token_id, tokenizer.eot_token_id}
    if args.whole_clip:
        counts = Counter({token: 0 for token in tokenizer.decoder if token not in special})
    elif args.original:
        counts = count_with_padding(caption_lines(args.text), tokenizer)
        order = original_order(counts)
    else:
        counts = count_subwords(caption_lines(args.text), tokenizer)
    if not counts:
        raise DataError(f"no captions in {', '.join(map(str, args.text)) or '--text'}")
    write_vocabulary(args.output, counts, tokenizer.decoder, order=order)
    logging.info(f"{args.output}: {len(counts)} sub-words, {sum(counts.values())} occurrences")


if __name__ == "__main__":
    main()
