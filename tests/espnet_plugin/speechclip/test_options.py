"""Options stand once, where they are read, and every signature is whole."""

from __future__ import annotations

import pytest

from espnet_plugin.speechclip.cif import CIF
from espnet_plugin.speechclip.keyword_extractor import CifKeywordExtractor
from espnet_plugin.speechclip.options import check_options, choose, hands_on_to, options_of


def inner(size, *, width=3, depth=1, compatibility=None):
    return size, width, depth, compatibility


@hands_on_to(inner)
def outer(size, *, width=5, name="x", **options):
    return name, inner(size, width=width, **options)


def test_options_of_the_inner_constructor_are_shown_behind_ones_own():
    assert options_of(outer) == {"width": 5, "name": "x", "depth": 1}
    assert outer(2, depth=4) == ("x", (2, 5, 4, None))
    with pytest.raises(TypeError, match="height"):
        outer(2, height=1)


def test_the_extractor_shows_every_option_of_the_segmenter_with_its_default():
    own = {"frames_per_keyword": 20.0, "target": "duration"}
    assert options_of(CifKeywordExtractor) == own | options_of(CIF)
    extractor = CifKeywordExtractor(4, threshold=0.5, max_keywords=7)
    assert (extractor.cif.threshold, extractor.cif.max_keywords) == (0.5, 7)


def test_unknown_names_are_named_beside_the_known_ones():
    check_options("x_conf", {"width"}, options_of(inner))
    with pytest.raises(ValueError, match="x_conf has unknown .* compatibility, size; known: width"):
        check_options("x_conf", ["size", "compatibility"], options_of(inner))
    assert choose("x", {"a": inner}, "a") is inner
    with pytest.raises(ValueError, match="x: 'c' is not known; choose from a, b"):
        choose("x", {"b": inner, "a": inner}, "c")
