"""Names of languages."""

from __future__ import annotations

import pytest

from espnet_plugin.data.languages import is_english


@pytest.mark.parametrize("name", ["en", "EN", "eng", "English", "en-us", "en_GB"])
def test_names_of_english(name: str) -> None:
    assert is_english(name)


@pytest.mark.parametrize("name", ["sw", "enm", "Hindi", "", "den"])
def test_names_of_other_languages(name: str) -> None:
    assert not is_english(name)
