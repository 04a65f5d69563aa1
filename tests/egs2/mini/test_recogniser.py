from __future__ import annotations

import numpy as np
import pytest
import torch

from espnet_plugin.data.frame_store import FrameStore, StoredFrames


@pytest.fixture
def stored(tmp_path):
    """Utterances of one or two words, each a constant vector over ten frames."""
    rng = np.random.default_rng(0)
    vectors = {word: rng.standard_normal((2, 6)) for word in ("red", "dog", "cat")}
    texts = ["red dog", "dog", "cat", "red cat", "dog red", "cat dog"]
    states, captions = {}, {}
    for number, text in enumerate(texts * 4):
        frames = [np.repeat(vectors[word][None], 10, axis=0) for word in text.split()]
        array = np.concatenate(frames).astype(np.float16)  # (frames, layers + 1, dim)
        states[f"u{number}"], captions[f"u{number}"] = {"frames": array}, text
    store = FrameStore(tmp_path, dict.fromkeys(states, __file__), maker={})
    store.save(states)
    store.write_list(tmp_path / "states.scp", states, {}, what="utterances")
    return StoredFrames(tmp_path / "states.scp"), captions


def test_learns_what_is_said(stored):
    from local.mini.recogniser import _load, greedy_words, train_recogniser

    states, captions = stored
    model, words = train_recogniser(states, captions, steps=60, batch_size=8, learning_rate=1e-2)
    assert words == ["cat", "dog", "red"]
    keys = list(states)[:6]
    with torch.no_grad():
        texts = greedy_words(*model(*_load(states, keys)), words)
    assert texts == [captions[key] for key in keys]


def test_padding_changes_nothing(stored):
    from local.mini.recogniser import CtcRecogniser, _load

    states, _ = stored
    model = CtcRecogniser(2, 6, 3).eval()
    with torch.no_grad():
        together, lengths = model(*_load(states, ["u0", "u1"]))
        alone, alone_lengths = model(*_load(states, ["u1"]))
    assert lengths.tolist() == [10, 5] and alone_lengths.tolist() == [5]
    assert torch.allclose(together[1, :5], alone[0], atol=1e-5)


def test_greedy_words():
    from local.mini.recogniser import greedy_words

    units = torch.tensor([[0, 1, 1, 0, 1, 2, 2, 1]])
    scores = torch.nn.functional.one_hot(units, 3).float()
    assert greedy_words(scores, torch.tensor([7]), ["a", "b"]) == ["a a b"]


def test_missing_states_are_explained(tmp_path):
    from local.mini.recogniser import main

    with pytest.raises(
        SystemExit, match="recogniser: error: .*speech_states.scp is missing; run the stage"
    ):
        main(["--train_dir", str(tmp_path)])
