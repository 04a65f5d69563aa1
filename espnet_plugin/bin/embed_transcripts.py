"""Embed a speech recogniser's transcripts with CLIP's text tower, a baseline for retrieval.

Writes ``transcripts`` (a copy), ``transcripts.npy`` and ``transcripts.json`` (word error rate) into
a set's inference directory; scoring then has a row ``asr``. Any recogniser will do.

Example:
    python -m espnet_plugin.bin.embed_transcripts --transcripts whisper/test/text \
        --inference_dir EXP/inference_x/test --text dump/raw/test/text \
        --clip_model ViT-B-32-quickgelu --clip_pretrained openai
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from espnet_plugin.data.inference_set import (
    TRANSCRIPT_EMBEDDINGS,
    TRANSCRIPT_FACTS,
    TRANSCRIPTS,
    UTTERANCES,
)
from espnet_plugin.data.scp import DataError, read_scp, write_lines
from espnet_plugin.evaluation.word_errors import word_error_rate
from espnet_plugin.utils.atomic import atomic_path, write_text
from espnet_plugin.utils.command import add_clip_arguments, command_errors


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--transcripts", required=True, help="Kaldi text: utterance, transcript")
    parser.add_argument("--inference_dir", required=True, help="a set's inference directory")
    parser.add_argument("--text", help="captions, for the word error rate")
    add_clip_arguments(parser)
    return parser


@command_errors("embed_transcripts")
def main(cmd: Sequence[str] | None = None) -> None:
    """Runs the command; a fault of the data ends it with one message and exit code 1."""
    args = get_parser().parse_args(cmd)
    from espnet_plugin.inference.clip import chosen_clip, embed_texts

    directory = Path(args.inference_dir)
    utterances = list(read_scp(directory / UTTERANCES))
    transcripts = read_scp(args.transcripts)  # a recogniser that heard nothing leaves the id alone
    missing = [utterance for utterance in utterances if utterance not in transcripts]
    if len(missing) == len(utterances):
        raise DataError(
            f"{args.transcripts} holds no transcript of an utterance in {directory}, e.g. of "
            f"{missing[0]}: is it of this set?"
        )
    if missing:
        logging.warning(
            f"{args.transcripts}: utterances without a transcript, taken as empty: {len(missing)} "
            f"of {len(utterances)}, the first is {missing[0]}"
        )
    heard = {utterance: transcripts.get(utterance, "") for utterance in utterances}
    clip = chosen_clip(args, image_tower=False, text_tower=True)
    embeddings = embed_texts(clip, list(heard.values()), description="transcripts")
    rate = None
    if args.text:
        captions = read_scp(args.text)
        rate = word_error_rate({u: captions[u] for u in utterances if u in captions}, heard)
    (directory / TRANSCRIPT_EMBEDDINGS).unlink(missing_ok=True)  # never beside other transcripts
    write_lines(directory / TRANSCRIPTS, heard.items())
    facts = {"source": str(args.transcripts), "missing": len(missing), "word_error_rate": rate}
    write_text(directory / TRANSCRIPT_FACTS, json.dumps(facts, indent=2) + "\n")
    with atomic_path(directory / TRANSCRIPT_EMBEDDINGS) as temporary:
        np.save(temporary, embeddings)
    words = "" if rate is None else f", {100 * rate:.1f} % word errors"
    logging.info(f"{directory / TRANSCRIPT_EMBEDDINGS}: transcripts: {len(utterances)}{words}")


if __name__ == "__main__":
    main()
