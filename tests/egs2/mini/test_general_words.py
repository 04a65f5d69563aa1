from __future__ import annotations

import sys
from types import SimpleNamespace

from local.mini.general_words import main


def test_words_of_the_world_have_their_counts_in_general_english(tmp_path, monkeypatch):
    shares = {"the": 0.05, "dog": 1e-4, "sandwich": 1e-5, "red": 4e-4, "cat": 1e-4}
    package = SimpleNamespace(get_frequency_dict=lambda language, wordlist: shares)
    monkeypatch.setitem(sys.modules, "wordfreq", package)
    main(["--world", "babel", "--output", str(tmp_path / "words.tsv")])
    assert (tmp_path / "words.tsv").read_text() == "red\t20000\ndog\t10000\nthe\t1\n"
