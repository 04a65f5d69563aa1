"""Names of languages in a data directory's ``utt2lang``."""

from __future__ import annotations

import re


def is_english(language: str) -> bool:
    """Whether a corpus's name of a language means English, such as ``en``, ``eng``, ``en-us``."""
    return re.fullmatch(r"en|eng|english|en[-_].*", language.casefold()) is not None
