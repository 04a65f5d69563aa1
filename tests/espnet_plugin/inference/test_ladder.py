from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from espnet_plugin.inference.ladder import SpanKeywordExtractor, read_speech
from espnet_plugin.pretrained import load_speechclip
from espnet_plugin.speechclip.keyword_extractor import CifKeywordExtractor


def test_a_span_is_a_weighted_mean_of_its_frames() -> None:
    own = CifKeywordExtractor(2, dropout=0.0, threshold=2.0)
    alphas = torch.tensor([[0.1, 0.3, 0.2, 0.4]])
    own.cif.forward = lambda features, lengths: alphas
    frames = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 0.0]]])
    slots = SpanKeywordExtractor(own, [(0, 2), (3, 4)])(frames[:, :0], frames, torch.tensor([4]))
    # 2 · (0.1 · first + 0.3 · second) / 0.4, and 2 · last
    assert torch.allclose(slots.embeddings, torch.tensor([[[0.5, 1.5], [6.0, 0.0]]]))
    assert slots.lengths.tolist() == [2]


def test_spans_are_read_by_the_same_path(exported, tmp_path) -> None:
    path = tmp_path / "a.wav"
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(path, noise, 16000)
    model = load_speechclip(exported, image_tower=False)
    own = model.keyword_extractor
    spans = {"own": [None], "two": [[(0.0, 0.2), (0.2, 9.0)]], "short": [[(0.3, 0.301)]]}
    spans["after"] = [None]
    (found,) = read_speech(model, [str(path)], spans)
    assert model.keyword_extractor is own
    heard = model.encode_speech(soundfile.read(path, dtype="float32")[0])
    assert np.allclose(found["own"].embedding, heard.cascaded[0], atol=1e-5)
    assert len(found["own"].ids) == int(heard.keywords.lengths[0])
    assert found["soft"].ids == found["own"].ids
    assert not np.allclose(found["soft"].embedding, found["own"].embedding, atol=1e-3)
    assert np.array_equal(found["after"].embedding, found["own"].embedding)
    assert found["after"].ids == found["own"].ids
    assert [len(found[step].ids) for step in ("two", "short")] == [2, 1]
    for reading in found.values():
        assert np.linalg.norm(reading.embedding) == pytest.approx(1, abs=1e-5)
