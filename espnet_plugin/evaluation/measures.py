"""The words that readers see for branches and measures, by their keys in ``scores.json``.

docs/concepts.md says what each one is, and what the field calls it.
"""

from __future__ import annotations

BRANCH_TITLES = {"cascaded": "keywords", "parallel": "utterance", "fusion": "both"}
SYSTEMS = {"chance": "chance", **BRANCH_TITLES, "teacher": "CLIP reading the caption"}
PLACES = {"recall@1": "first", "recall@5": "among five", "recall@10": "among ten"}
RETRIEVAL = {**PLACES, "median_rank": "median rank"}
KEYWORDS = {  # word, and what is counted
    "content_word_recall": ("words found", "content sub-words of the caption that are named"),
    "content_word_hit@1": ("words right", "content keywords that are in the caption"),
    "duplicate_rate": ("repeats", "keywords that repeat another one"),
    "content_words_exact": (
        "all words right",
        "utterances whose content words are all named, and no others",
    ),
    "subword_hit@1": ("sub-word hit@1", "nearest sub-word is in the caption"),
    "subword_hit@5": ("sub-word hit@5", "one of 5 nearest sub-words is in the caption"),
    "word_hit@1": ("word hit@1", "word is in the caption"),
    "word_hit@5": ("word hit@5", "word, by one of 5 nearest sub-words"),
    "precision": ("precision", "distinct keywords that are in the caption"),
    "mean_keywords": ("number of keywords", "mean over utterances"),
    "mean_subwords": ("number of sub-words", "mean over captions"),
    "mean_count_difference": ("difference of the numbers", "mean of its absolute value"),
}
BOUNDARY_F = "boundary F, 50 ms"
