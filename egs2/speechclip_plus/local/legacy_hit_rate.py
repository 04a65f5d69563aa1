"""The keyword hit rate that the original SpeechCLIP logs in validation.

It is lenient in three ways: special tokens are hits, padding is a hit, and so is a sub-word that is
only near the chosen one. Its neighbours are those of the *chosen* row of the token table, not of
the continuous keyword.

Example, from the recipe's folder:
    python -m local.legacy_hit_rate exp/*/inference_*/test/keywords.jsonl
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from espnet_plugin.data.keyword_file import UtteranceKeywords, read_captioned_keywords
from espnet_plugin.evaluation.token_texts import END_OF_TEXT, START_OF_TEXT, clip_tokenizer
from espnet_plugin.utils.command import command_errors

NEAREST = 5  # rows that count, as in the original's configurations
CONTEXT_LENGTH = 77  # of CLIP's text tower, to which the original pads a caption
PADDING = "!"  # what token 0, with which it pads, says


def legacy_gold(caption_ids: Sequence[int]) -> frozenset[int]:
    """Tokens that count as hits for a caption.

    The original decodes the padded ids of the caption and encodes the text again. The words come
    back unchanged. The padding comes back as one word of exclamation marks: as the sub-words for
    runs of them, without token 0.

    Args:
        caption_ids: CLIP tokens of the caption without start, end and padding. The original cannot
            take more than 75; here all count.
    """
    padding = CONTEXT_LENGTH - 2 - len(caption_ids)
    runs = clip_tokenizer().encode(PADDING * max(padding, 0))
    return frozenset((START_OF_TEXT, *caption_ids, END_OF_TEXT, *runs))


def legacy_hit_rates(utterances: Sequence[UtteranceKeywords]) -> np.ndarray:
    """Share of utterances that are hit at each keyword position; the mean over positions was
    published.

    A keyword is a hit when one of the 5 rows of the keyword vocabulary nearest to the chosen row,
    itself the first and special tokens among them, is in ``legacy_gold`` of the caption.

    Args:
        utterances: What ``read_keywords`` returns.

    Returns:
        (positions,) rates from 0 to 1.

    Raises:
        ValueError: The utterances have different numbers of keywords, or too few stored neighbours.
    """
    counts = {len(utterance.keywords) for utterance in utterances}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(
            "the legacy hit rate needs the same number of keywords in every utterance, found "
            f"{min(counts, default=0)} to {max(counts, default=0)}: it is only defined for the cls "
            "keyword extractor"
        )
    hits = []
    for utterance in utterances:
        if not all(keyword.neighbours for keyword in utterance.keywords):
            raise ValueError(
                f"{utterance.utterance}: keywords.jsonl holds no neighbours of the chosen "
                "sub-words, which the legacy hit rate counts: run inference again"
            )
        gold = legacy_gold(utterance.caption_ids)
        hits.append([not gold.isdisjoint(word.neighbours[:NEAREST]) for word in utterance.keywords])
    return np.mean(np.asarray(hits, dtype=float), axis=0)


@command_errors("legacy_hit_rate")
def main(cmd: Sequence[str] | None = None) -> None:
    """Prints the rate at each position and their mean, in %."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("keywords", nargs="+", help="keywords.jsonl of a cls model's sets")
    for path in parser.parse_args(cmd).keywords:
        rates = 100 * legacy_hit_rates(read_captioned_keywords(path))
        positions = " ".join(f"{rate:.1f}" for rate in rates)
        sys.stdout.write(f"{path}: {rates.mean():.1f} (by position: {positions})\n")


if __name__ == "__main__":
    main()
