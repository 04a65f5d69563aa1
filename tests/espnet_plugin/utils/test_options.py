"""Every option is in a signature, where editors and mypy see it.

``make lint`` checks this file's types: mypy complains where it would accept one of the wrong
options, for then its ``type: ignore`` has no use.
"""

from __future__ import annotations

import pytest

from espnet_plugin.model.keyword_extractor import CifKeywordExtractor
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder
from espnet_plugin.utils.options import check_options, find_class, options_of


def test_a_wrong_option_is_refused_by_python_and_by_mypy() -> None:
    with pytest.raises(TypeError, match="treshold"):
        CifKeywordExtractor(4, treshold=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="momentun"):
        KeywordBatchNorm(4, momentun=0.5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="droput"):
        HuggingFaceBackend(model="hubert", droput=0.1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="source"):
        FrozenSpeechEncoder(source="s3prl")  # type: ignore[call-arg]


def inner(size: int, *, width: int = 3, compatibility: None = None) -> int:
    """What the factory gives by itself is not an option."""
    return size * width


def test_unknown_names_are_named_beside_the_known_ones() -> None:
    check_options("x_conf", {"width"}, options_of(inner))
    with pytest.raises(ValueError, match="x_conf has no option compatibility, size; known: width"):
        check_options("x_conf", ["size", "compatibility"], options_of(inner))
    with pytest.raises(ValueError, match="widht .did you mean width.., x; known: width"):
        check_options("x_conf", ["x", "widht"], options_of(inner))


def test_a_class_is_known_by_its_word_or_imported() -> None:
    assert find_class("x", "a", {"a": inner}) is inner
    assert find_class("x", "fractions:Fraction", {"a": inner}).__name__ == "Fraction"
    with pytest.raises(ValueError, match="x: .bb. is not known .did you mean b..; choose from"):
        find_class("x", "bb", {"a": inner, "b": inner})
