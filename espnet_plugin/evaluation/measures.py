"""The words that readers see for branches and measures, by their keys in ``scores.json``.

docs/concepts.md#measures defines each of them.
"""

from __future__ import annotations

BRANCHES = ("cascaded", "parallel", "fusion")
SYSTEMS = {name: name for name in ("chance", *BRANCHES)} | {"teacher": "CLIP reading the caption"}
PLACES = {"recall@1": "R@1", "recall@5": "R@5", "recall@10": "R@10"}
DIRECTIONS = {"speech_to_image": "speech → image", "image_to_speech": "image → speech"}
RETRIEVAL = {**PLACES, "median_rank": "median rank"}
KEYWORDS = {  # word, and what is counted
    "content_word_recall": ("keyword recall", "content sub-words of the caption that are named"),
    "content_word_hit@1": ("keyword precision", "content keywords that are in the caption"),
    "duplicate_rate": ("repeats", "keywords that repeat an earlier one"),
    "content_words_exact": (
        "exact match",
        "utterances whose content words are all named in order, and no others",
    ),
    "subword_hit@1": ("sub-word hit@1", "nearest sub-word is in the caption"),
    "subword_hit@5": ("sub-word hit@5", "one of 5 nearest sub-words is in the caption"),
    "word_hit@1": ("word hit@1", "word is in the caption"),
    "word_hit@5": ("word hit@5", "word, by one of 5 nearest sub-words"),
    "precision": ("precision of distinct keywords", "distinct keywords that are in the caption"),
    "mean_keywords": ("number of keywords", "mean over utterances"),
    "mean_subwords": ("number of sub-words", "mean over captions"),
    "mean_count_difference": ("difference of the numbers", "mean of its absolute value"),
}
BOUNDARY_F = "boundary F, 50 ms"
