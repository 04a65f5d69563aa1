"""Which sub-words may be keywords."""

from __future__ import annotations

import pytest

from espnet_plugin.model.vocabulary import (
    KeywordVocabulary,
    count_subwords,
    count_with_padding,
    resolve_vocabulary,
    vocabulary_text,
)

SPECIAL = (49406, 49407)


def test_what_is_written_is_read_back_most_frequent_first(tmp_path):
    path = tmp_path / "tokens.tsv"
    tokens = {7: "x</w>", 9: "y</w>", 320: "a</w>"}
    path.write_text(vocabulary_text({9: 1, 7: 1, 320: 5}, tokens))
    assert path.read_text().splitlines()[1] == "320\ta</w>\t5"
    read = resolve_vocabulary(path, special_ids=SPECIAL)
    assert (read.ids, read.counts) == ((320, 7, 9), (5, 1, 1))


class Words:
    """A tokenizer with a word per id."""

    sot_token_id, eot_token_id = 100, 101

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]


def test_start_end_and_padding_count_for_the_original_only():
    captions = ["7 7 8", "8"]
    assert count_subwords([("7 7 8", 1), ("8", 5)], Words()) == {7: 2, 8: 6}
    counts = count_with_padding(captions, Words())
    assert counts == {7: 2, 8: 2, 100: 2, 101: 2, 0: 72 + 74}
    assert count_with_padding(["5 " * 80], Words()) == {5: 75, 100: 1, 101: 1, 0: 0}


def test_special_tokens_are_forbidden_by_id():
    assert resolve_vocabulary([5, 49407, 6], special_ids=SPECIAL).forbidden == {49407}
    # a list with start and end is the original's, where 0 is the padding
    originals = resolve_vocabulary([0, 320, 736, 49406, 49407], special_ids=SPECIAL)
    assert originals.forbidden == {0, 49406, 49407}
    mapping = {"ids": [5, 6, 7], "forbidden": [6]}
    assert resolve_vocabulary(mapping, special_ids=SPECIAL).forbidden == {6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("id\ttoken\tcount\n12 a 3\n", "tokens.tsv:2"),
        ("id\ttoken\tcount\n12\ta\tmany\n", "tokens.tsv:2"),
        ("id\ttoken\tcount\n", "empty"),
    ],
)
def test_bad_files_are_named(tmp_path, text, message):
    path = tmp_path / "tokens.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        KeywordVocabulary.from_file(path)
    with pytest.raises(FileNotFoundError, match="stage 5"):
        KeywordVocabulary.from_file(tmp_path / "missing.tsv")


@pytest.mark.parametrize("wrong", [1.5, True, -1, "7", None])
@pytest.mark.parametrize("key", ["ids", "forbidden"])
def test_what_is_no_token_id_is_named(wrong, key):
    given = {"ids": [3, 4], "forbidden": []}
    given[key] = [*given[key], wrong]
    with pytest.raises(ValueError, match=f"holds {wrong!r}, which is not a token id"):
        resolve_vocabulary(given, special_ids=())
    with pytest.raises(ValueError, match=f"holds {wrong!r}, which is not a token id"):
        resolve_vocabulary([3, 4, wrong], special_ids=())


def test_one_subword_is_no_choice():
    for source in ([320], {"ids": [320, 49406], "forbidden": [49406]}, [320, 49406, 49407]):
        with pytest.raises(ValueError, match="fewer than two sub-words"):
            resolve_vocabulary(source, special_ids=(49406, 49407))
