from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local.legacy_hit_rate import legacy_gold, legacy_hit_rates, main

from espnet_plugin.data.keyword_file import Keyword, UtteranceKeywords

tokenizer = pytest.importorskip("open_clip.tokenizer").SimpleTokenizer()
START, END, PAD = 49406, 49407, 0
RUN_OF_16 = 30146  # what "!!!!!!!!!!!!!!!!" is encoded as


def utterance(caption_ids, neighbours, name="u"):
    keywords = tuple(Keyword(near[0], "?", (), neighbours=tuple(near)) for near in neighbours)
    return UtteranceKeywords(name, "", tuple(caption_ids), keywords)


def padded(caption_ids: list[int]) -> list[int]:
    ids = [START, *caption_ids, END]
    return ids + [PAD] * (77 - len(ids))


captions = st.lists(
    st.sampled_from(["a", "dog's", "zxq", "!", "!!", "'", "12", "café", "don't", '."', "&", "–"]),
    max_size=15,
).map(" ".join)


@settings(max_examples=50, deadline=None)
@given(captions)
def test_gold_is_the_re_encoded_decoding_of_the_padded_ids(caption):
    ids = tokenizer.encode(caption)
    expected = set(tokenizer.encode(tokenizer.decode(padded(ids))))
    assert legacy_gold(ids) == expected
    assert PAD not in expected and RUN_OF_16 in expected


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), positions=st.integers(1, 4))
def test_rates_are_those_of_a_slow_loop_over_a_token_table(seed, positions):
    torch = pytest.importorskip("torch")
    from espnet_plugin.speechclip.quantizer import TokenQuantizer, cosine_similarities

    rng = np.random.default_rng(seed)
    vocabulary = [PAD, 320, START, END, RUN_OF_16, *rng.choice(np.arange(321, 9000), 15, False)]
    table = torch.tensor(rng.standard_normal((20, 4)), dtype=torch.float32)
    spoken = torch.tensor(rng.standard_normal((6, positions, 4)), dtype=torch.float32)
    texts = [tokenizer.encode(tokenizer.decode(rng.choice(vocabulary[5:], 3))) for _ in range(6)]
    forbidden = torch.tensor([token in (PAD, START, END) for token in vocabulary])
    chosen = TokenQuantizer().eval()(spoken, table, forbidden=forbidden).embeddings
    near = cosine_similarities(chosen, table).topk(5, dim=-1).indices.tolist()
    ours = legacy_hit_rates(
        [
            utterance(ids, [[int(vocabulary[row]) for row in rows] for rows in slots], f"u{n}")
            for n, (ids, slots) in enumerate(zip(texts, near, strict=True))
        ]
    )

    hits = np.zeros(positions)
    for ids, slots in zip(texts, spoken.numpy(), strict=True):
        gold = set(tokenizer.encode(tokenizer.decode(padded(ids))))
        for position, keyword in enumerate(slots):

            def cosine(row, to):
                values = table.numpy()[row]
                return values @ to / np.linalg.norm(values) / np.linalg.norm(to)

            words = [row for row in range(20) if not forbidden[row]]
            best = max(words, key=lambda row, to=keyword: cosine(row, to))
            quantised = table.numpy()[best]
            order = sorted(range(20), key=lambda row, to=quantised: -cosine(row, to))
            assert order[0] == best
            hits[position] += bool({vocabulary[row] for row in order[:5]} & gold)
    np.testing.assert_allclose(ours, hits / 6)


def test_rates_by_hand():
    first = utterance([2, 3], [[6, 3], [6, 1]], "u1")
    second = utterance([2], [[PAD, 6], [6, END]], "u2")  # the padding's own token does not count
    assert legacy_hit_rates([first, second]).tolist() == [0.5, 0.5]
    far = utterance([2], [[6, 6, 6, 6, 6, 2]])  # only the five nearest count
    assert legacy_hit_rates([far]).tolist() == [0.0]
    assert legacy_hit_rates([utterance([2], [[RUN_OF_16]])]).tolist() == [1.0]


def test_what_cannot_be_counted_is_said():
    with pytest.raises(ValueError, match="found 1 to 2"):
        legacy_hit_rates([utterance([2], [[2], [3]]), utterance([2], [[2]])])
    bare = UtteranceKeywords("u7", "", (2,), (Keyword(2, "?", (2,)),))
    with pytest.raises(ValueError, match="u7: .*run inference again"):
        legacy_hit_rates([bare])


def test_the_command_prints_the_rate_of_each_position(tmp_path, capsys):
    def keyword(token: int) -> dict:
        return {"token_id": token, "token": "?", "neighbours": [token, 6]}

    record = {"utt": "u", "caption": "a", "caption_ids": [2]}
    record["keywords"] = [keyword(2), keyword(3)]
    path = tmp_path / "keywords.jsonl"
    path.write_text(json.dumps(record) + "\n")
    main([str(path)])
    assert capsys.readouterr().out == f"{path}: 50.0 (by position: 100.0 0.0)\n"
    path.unlink()
    with pytest.raises(SystemExit, match="legacy_hit_rate: error: .*is missing"):
        main([str(path)])
