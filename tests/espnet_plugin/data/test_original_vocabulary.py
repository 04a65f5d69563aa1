from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.data.original_vocabulary import (
    count_with_padding,
    original_order,
    quicksort_places,
)


def shared(name: str) -> Path | None:
    """A file of the workplace's reference material, where there is one."""
    places = (parent / "shared" / name for parent in Path(__file__).parents)
    return next((path for path in places if path.is_file()), None)


CAPTIONS = shared("flickr8k_text/Flickr8k.token.txt")
CHECKPOINT = shared("fixtures/ckpt/hybrid_plus.ckpt")


class Words:
    """A tokenizer with a word per id."""

    sot_token_id, eot_token_id = 100, 101

    def encode(self, text: str) -> list[int]:
        return [int(word) for word in text.split()]


def test_start_end_and_padding_count() -> None:
    counts = count_with_padding(["7 7 8", "8"], Words())
    assert counts == {7: 2, 8: 2, 100: 2, 101: 2, 0: 72 + 74}


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=120))
def test_places_are_those_of_a_sort(values: list[int]) -> None:
    places = quicksort_places(values)
    assert sorted(places) == list(range(len(values)))
    assert [values[place] for place in places] == sorted(values)


def test_few_ties_stay_in_order_and_many_do_not() -> None:
    assert quicksort_places([1] * 16) == list(range(16))
    assert quicksort_places([1] * 40) != list(range(40))
    assert original_order({5: 1, 3: 9, 4: 1}) == [3, 5, 4]


@pytest.mark.slow
@pytest.mark.skipif(CAPTIONS is None or CHECKPOINT is None, reason="needs shared/")
def test_flickr8k_gives_the_originals_8112_ids_in_order(tmp_path: Path) -> None:
    from espnet_plugin.bin.keyword_vocabulary import main
    from espnet_plugin.speechclip.convert.unpickle import read_pickled_checkpoint
    from espnet_plugin.speechclip.convert.vocabulary_ids import recover_ids
    from espnet_plugin.speechclip.vocabulary import resolve_vocabulary
    from tests.egs2.corpora import conftest  # noqa: F401  (makes local importable)

    from local.flickr8k.prepare import read_captions  # isort: skip

    assert CAPTIONS is not None and CHECKPOINT is not None
    captions, _ = read_captions(CAPTIONS)
    text = tmp_path / "captions"
    rows = [f"{image}_{n} {line}\n" for image, lines in captions.items() for n, line in lines]
    text.write_text("".join(sorted(rows)))
    output = tmp_path / "tokens.tsv"
    main(["--text", str(text), "--original", "--clip_model", "ViT-B-32", "--output", str(output)])
    vocabulary = resolve_vocabulary(output, special_ids=(49406, 49407))
    assert len(vocabulary) == 8112
    assert vocabulary.ids[:8] == (0, 320, 49406, 49407, 530, 518, 525, 533)
    assert vocabulary.forbidden == {0, 49406, 49407}
    weights = read_pickled_checkpoint(CHECKPOINT).content["state_dict"]
    table = weights["clip.original_text_emb_weight"]
    assert list(vocabulary.ids) == recover_ids(weights["clip.model.token_embedding.weight"], table)
