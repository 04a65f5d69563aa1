"""Write the keyword vocabulary: the CLIP sub-words that a text uses, most frequent first.

Example: ``python -m espnet_plugin.bin.keyword_vocabulary --text data/flickr8k_train/text
--clip_model ViT-B-32-quickgelu --output data/token_list/clip_ViT-B-32-quickgelu/tokens.tsv``
"""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from espnet_plugin.data.english import (
    counted_texts,
    general_word_counts,
    write_word_counts,
)
from espnet_plugin.data.record import make_record, write_record
from espnet_plugin.data.scp import read_lines
from espnet_plugin.model.vocabulary import count_subwords, count_with_padding, vocabulary_text
from espnet_plugin.teachers.clip_config import load_bpe
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.command import command_errors
from espnet_plugin.utils.errors import DataError


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="*", default=[], help="tables of captions")
    parser.add_argument(
        "--vocab_text",
        type=Path,
        help="any English text instead: sentences, one a line, or word<tab>count in each line",
    )
    parser.add_argument(
        "--general_words",
        type=Path,
        metavar="FILE",
        help="write a list of general English words to this file, and use it as --vocab_text",
    )
    parser.add_argument(
        "--whole_clip",
        action="store_true",
        help="every sub-word of CLIP instead, for a corpus without captions",
    )
    parser.add_argument(
        "--original",
        action="store_true",
        help="count start, end and padding too, as the original does",
    )
    parser.add_argument("--output", type=Path, required=True, help="tokens.tsv")
    parser.add_argument("--clip_model", required=True, help="open_clip name or JSON file")
    return parser


@command_errors("keyword_vocabulary")
def main(cmd: Sequence[str] | None = None) -> None:
    """Counts and writes; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    tokenizer = load_bpe(args.clip_model)
    if args.general_words is not None:
        write_word_counts(args.general_words, general_word_counts())
        args.vocab_text = args.general_words
    files = dict.fromkeys(("text", "general_words"))  # the list of words is vocab_text by now
    files |= {f"text {number}": path for number, path in enumerate(args.text, 1)}
    files |= {"vocab_text": args.vocab_text, "clip_model": args.clip_model}
    record = make_record("vocabulary", vars(args), inputs=files)
    captions = (caption for path in args.text for _, caption in read_lines(path))
    if args.whole_clip:
        special = {tokenizer.sot_token_id, tokenizer.eot_token_id}
        counts = Counter({token: 0 for token in tokenizer.decoder if token not in special})
    elif args.original:
        counts = count_with_padding(captions, tokenizer)
    elif args.vocab_text is not None:
        counts = count_subwords(counted_texts(args.vocab_text), tokenizer)
    else:
        counts = count_subwords(((caption, 1) for caption in captions), tokenizer)
    source = str(args.vocab_text or ", ".join(map(str, args.text)) or "--text")
    if not counts:
        raise DataError(f"no captions or other text in {source}")
    if len(counts) < 2:
        raise DataError(f"{source}: a single sub-word in all of it: no vocabulary to choose from")
    write_text(args.output, vocabulary_text(counts, tokenizer.decoder))
    write_record(args.output, record)
    logging.info(f"{args.output}: sub-words: {len(counts)}, occurrences: {sum(counts.values())}")


if __name__ == "__main__":
    main()
