"""What is known of English: its function words, its names, and which words it has how often.

Content-word scores leave out the function words. ``STOP_WORDS`` is a short list for image captions:
articles, pronouns, prepositions, conjunctions, auxiliaries and a few adverbs without visible
content. Words of place ("near", "behind") are in it; numbers, colours and sizes are not, because
they describe. A token is a stop word if it is a whole word of the list ("a</w>", not the "a" that
begins another word), or holds no letter or digit (punctuation).

Any English text, of sentences or a list of words, replaces captions where nobody wrote down what is
said in a corpus.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from espnet_plugin.data.scp import text_lines
from espnet_plugin.utils.atomic import write_text
from espnet_plugin.utils.errors import DataError

STOP_WORDS = frozenset(
    """
    a an the this that these those some any each every another other both all

    i me my mine we us our you your he him his she her hers it its they them their theirs
    himself herself itself themselves who whom whose which what

    where when while as and or but nor so if than then because

    of to in on at by for from with without into onto over under above below between among
    through across along around about

    against near behind beside besides beyond inside outside off out up down upon toward towards
    next via within

    is are was were be been being am has have had having do does did doing done
    can could will would shall should may might must

    not no very too also just only there here such 's 't 'd 'm 're 've 'll
    """.split()
)
_COUNTED = re.compile(r"([^\t]+)\t *([1-9]\d{0,14}) *")  # a word and how often it occurs


def is_stop_word(word: str) -> bool:
    """Whether a whole word is a function word or only punctuation."""
    word = word.casefold().replace("’", "'")
    return word in STOP_WORDS or not any(letter.isalnum() for letter in word)


def content_words(tokens: Iterable[str]) -> list[str]:
    """CLIP's tokens that are whole words ("dog</w>") without stop words, in their order."""
    words = [token.removesuffix("</w>") for token in tokens if token.endswith("</w>")]
    return [word for word in words if not is_stop_word(word)]


def is_english(language: str) -> bool:
    """Whether a corpus's name of a language means English, such as ``en``, ``eng``, ``en-us``."""
    return re.fullmatch(r"en|eng|english|en[-_].*", language.casefold()) is not None


def translation_note(languages: Collection[str]) -> str | None:
    """Says that the words for foreign speech are English, or gives None if a model knows of none.

    Args:
        languages: Languages of the model's training speech, as its corpus (``utt2lang``) has them.
    """
    if all(map(is_english, languages)):
        return None
    return (
        f"This model learned from speech in {', '.join(languages)}. For speech that is not "
        "English, its words are the nearest English sub-words: translations of a kind."
    )


def counted_texts(path: str | Path) -> Iterator[tuple[str, int]]:
    """Yields each text of a file and how often it occurs, and logs its form.

    Args:
        path: File of sentences, one a line, which occur once, or of ``word<tab>count`` lines. The
            first line that is not empty decides.

    Raises:
        MissingFileError: If there is no such file.
        DataError: If it is not UTF-8, a line of a list of words has another form, or a sentence has
            a tab, as the lines of a list with a header have.
    """
    lines = ((number, line) for number, line in text_lines(path) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    of_words = _COUNTED.fullmatch(first[1]) is not None
    read = 0
    for number, line in itertools.chain([first], lines):
        read += 1
        if match := of_words and _COUNTED.fullmatch(line):
            yield match[1], int(match[2])
        elif of_words or "\t" in line:
            raise DataError(
                f"{path}:{number}: expected word<tab>count with a whole number from 1 on in every "
                f"line, without a header, or sentences without tabs; found {line[:80]!r}"
            )
        else:
            yield line, 1
    form = "word<tab>count" if of_words else "sentences, each counted once"
    logging.info(f"{path}: read {read:,} lines as {form}; the first is {first[1][:40]!r}")


def general_word_counts() -> dict[str, int]:
    """Words of general English and how often each counts, the commonest first.

    They are wordfreq's, which occur at least once in a million words. A word counts as the square
    root of its occurrences in 10^12 words. Pictures show rare words more often than texts have
    them: by occurrences a night would count 140 times as often as an octopus, and naming would
    hardly learn what an octopus is. Function words, almost half of what is said, count once: a
    keyword may be one, but no image shows them.

    Raises:
        ImportError: If the package is not installed.
    """
    try:
        from wordfreq import get_frequency_dict
    except ImportError as error:
        raise ImportError(
            f"a list of general English words needs wordfreq ({error}): pip install wordfreq "
            "(extra: words), or give a file of your own"
        ) from error
    shares = get_frequency_dict("en", wordlist="small")
    counts = {
        word: 1 if is_stop_word(word) else round(math.sqrt(share * 1e12))
        for word, share in shares.items()
        if word.isalpha()
    }
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def write_word_counts(path: str | Path, counts: dict[str, int]) -> None:
    """Writes ``word<tab>count`` lines, which :func:`counted_texts` reads."""
    write_text(path, "".join(f"{word}\t{count}\n" for word, count in counts.items()))
