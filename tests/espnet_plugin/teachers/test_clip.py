"""FrozenCLIP against open_clip's own model, at tiny size with random weights."""

from __future__ import annotations

import json

import open_clip
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.clip_text import CausalTextTower, SoftTokensUnsupportedError
from tests.tiny import CLIP_DIM, tiny_clip_config, tiny_clip_weights

TEXTS = ["An orange cat.", "", "two dogs run across the wet grass towards a small red ball"]


def frozen(config, weights=None, **options):
    return FrozenCLIP(model=str(config), pretrained=weights and str(weights), **options)


def reference(config, weights):
    """The same model built and run by open_clip alone."""
    options = json.loads(config.read_text())
    custom_text = options.pop("custom_text", False)
    model = (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**options)
    open_clip.load_checkpoint(model, str(weights))
    return model.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clip")
    config = tiny_clip_config(directory)
    return config, tiny_clip_weights(directory, config)


@pytest.fixture(scope="module")
def clip(files):
    return frozen(*files)


def soft_tokens(clip, texts):
    """Rows of the token table for each text, padded with NaN."""
    ids = clip.tokenize(texts)
    tokens = torch.full((len(ids), max(map(len, ids)), CLIP_DIM), float("nan"))
    for row, own in enumerate(ids):
        tokens[row, : len(own)] = clip.token_embedding[own]
    return tokens, torch.tensor([len(own) for own in ids])


def test_sizes_and_tokens(clip):
    assert (clip.embedding_dim, clip.context_length) == (CLIP_DIM, 77)
    assert (clip.sot_id, clip.eot_id) == (49406, 49407)
    assert clip.token_embedding.shape == (49408, CLIP_DIM)
    ids = clip.tokenize(["an Orange", ""])
    assert ids == [[550, 4287], []]
    assert clip.token_text(4287) == "orange</w>"


@pytest.mark.parametrize("custom_text", [False, True])
def test_matches_open_clip(tmp_path, custom_text):
    config = tiny_clip_config(tmp_path, custom_text=custom_text)
    weights = tiny_clip_weights(tmp_path, config)
    clip, expected = frozen(config, weights), reference(config, weights)
    images = torch.rand(3, 3, 32, 32)
    tokens = open_clip.tokenize(TEXTS)
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_images(images), expected.encode_image(images, normalize=True)
        )
        torch.testing.assert_close(
            clip.encode_texts(TEXTS), expected.encode_text(tokens, normalize=True)
        )
    assert clip.takes_soft_tokens


def test_soft_tokens_equal_texts(clip):
    tokens, lengths = soft_tokens(clip, TEXTS)
    with torch.no_grad():
        soft = clip.encode_soft_tokens(tokens, lengths)
        torch.testing.assert_close(soft, clip.encode_texts(TEXTS), rtol=0, atol=1e-5)
    torch.testing.assert_close(soft.norm(dim=-1), torch.ones(3))


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    extra=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_soft_tokens_same_alone_and_in_any_batch(clip, lengths, extra, seed):
    generator = torch.Generator().manual_seed(seed)
    slots = max(lengths) + extra
    tokens = torch.randn(len(lengths), slots, CLIP_DIM, generator=generator)
    with torch.no_grad():
        together = clip.encode_soft_tokens(tokens, torch.tensor(lengths))
        for row, length in enumerate(lengths):
            alone = clip.encode_soft_tokens(tokens[row : row + 1, :length], torch.tensor([length]))
            torch.testing.assert_close(together[row], alone[0], rtol=0, atol=1e-5)


def test_long_texts_are_cut_like_open_clip(tmp_path):
    config = tiny_clip_config(tmp_path, context_length=6)
    weights = tiny_clip_weights(tmp_path, config)
    clip, expected = frozen(config, weights), reference(config, weights)
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_texts(TEXTS),
            expected.encode_text(open_clip.tokenize(TEXTS, 6), normalize=True),
        )
    with pytest.raises(ValueError, match="at most 4 keywords"):
        clip.encode_soft_tokens(torch.zeros(1, 5, CLIP_DIM), torch.tensor([5]))
    clip.encode_soft_tokens(torch.zeros(1, 4, CLIP_DIM), torch.tensor([4]))


def test_slots_that_are_not_kept_are_as_if_not_there(clip):
    texts = ["an orange cat", "dogs run"]
    tokens, lengths = soft_tokens(clip, texts)
    first, second = lengths.tolist()
    room = torch.full((2, first + 2, CLIP_DIM), float("nan"))
    kept = torch.ones(2, first + 2)
    room[0, [0, 2, 3]], room[0, 1] = tokens[0, :first], 7.0  # one too many, second place
    room[1, 1 : second + 1], room[1, 0] = tokens[1, :second], -3.0  # first place
    kept[0, 1] = kept[1, 0] = 0.0
    with torch.no_grad():
        left = clip.encode_soft_tokens(room, lengths + 1, kept=kept)
        torch.testing.assert_close(left, clip.encode_texts(texts), atol=1e-4, rtol=0)
        whole = clip.encode_soft_tokens(tokens, lengths, kept=torch.ones(2, first))
    torch.testing.assert_close(whole, clip.encode_texts(texts))


def test_half_a_slot_is_between_none_and_one(clip):
    tokens, lengths = soft_tokens(clip, ["an orange cat"])
    kept = torch.tensor([[1.0, 0.5, 1.0]], requires_grad=True)
    clip.encode_soft_tokens(tokens, lengths, kept=kept)[0, 0].backward()
    step = 1e-2
    with torch.no_grad():
        values = [
            clip.encode_soft_tokens(tokens, lengths, kept=torch.tensor([[1.0, share, 1.0]]))[0, 0]
            for share in (0.5 - step, 0.5 + step)
        ]
    slope = (values[1] - values[0]) / (2 * step)
    assert kept.grad[0, 1].item() == pytest.approx(slope.item(), rel=0.02, abs=1e-4)


def test_gradient_reaches_soft_tokens_only(clip):
    tokens, lengths = soft_tokens(clip, TEXTS)
    tokens = tokens.nan_to_num().requires_grad_()
    clip.train()
    assert not any(module.training for module in clip.modules())
    clip.encode_soft_tokens(tokens, lengths)[:, 0].sum().backward()
    assert tokens.grad[0, : lengths[0]].abs().min(dim=1).values.min() > 0
    assert tokens.grad[1].abs().sum() == 0  # the empty text
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    assert all(parameter.grad is None for parameter in clip.parameters())


def test_dropped_towers_are_not_kept(files):
    config, weights = files
    whole = frozen(config, weights)
    text_only = frozen(config, weights, image_tower=False)
    image_only = frozen(config, weights, text_tower=False)
    assert all(key.startswith("text_tower.") for key in text_only.state_dict())
    assert all(key.startswith("image_tower.") for key in image_only.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(image_only.encode_images(images), whole.encode_images(images))
        assert torch.equal(text_only.encode_texts(TEXTS), whole.encode_texts(TEXTS))
    with pytest.raises(RuntimeError, match="image tower"):
        text_only.encode_images(images)
    with pytest.raises(RuntimeError, match="text tower"):
        image_only.encode_texts(TEXTS)


def test_weights_are_held_once(clip):
    storages = [parameter.data_ptr() for parameter in clip.parameters()]
    assert len(storages) == len(set(storages))
    assert sum(value.numel() == 49408 * CLIP_DIM for value in clip.state_dict().values()) == 1


def test_preprocess(clip):
    picture = Image.new("L", (50, 40), color=255)
    pixels = clip.preprocess(picture)
    assert pixels.shape == (3, 32, 32)
    expected = (1.0 - torch.tensor(open_clip.OPENAI_DATASET_MEAN)) / torch.tensor(
        open_clip.OPENAI_DATASET_STD
    )
    torch.testing.assert_close(pixels[:, 5, 5], expected)


def test_preprocess_options_of_a_hub_style_config(tmp_path):
    model = json.loads(tiny_clip_config(tmp_path).read_text())
    config = tmp_path / "open_clip_config.json"
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    config.write_text(json.dumps({"model_cfg": model, "preprocess_cfg": preprocess}))
    clip = frozen(config, text_tower=False)
    pixels = clip.preprocess(Image.new("RGB", (32, 32), color=(255, 0, 255)))
    torch.testing.assert_close(pixels[:, 0, 0], torch.tensor([2.0, -2.0, 2.0]))


@pytest.mark.parametrize(
    "text_options",
    [{"pool_type": "last"}, {"no_causal_mask": True}, {"embed_cls": True, "pool_type": "last"}],
)
def test_other_text_towers_encode_texts_but_no_soft_tokens(tmp_path, text_options):
    config = tiny_clip_config(tmp_path, custom_text=True, text_options=text_options)
    weights = tiny_clip_weights(tmp_path, config)
    clip = frozen(config, weights)
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_texts(TEXTS),
            reference(config, weights).encode_text(open_clip.tokenize(TEXTS), normalize=True),
        )
    assert not clip.takes_soft_tokens
    with pytest.raises(SoftTokensUnsupportedError, match="parallel architecture"):
        clip.encode_soft_tokens(torch.zeros(1, 1, CLIP_DIM), torch.tensor([1]))


def test_eos_pooling_takes_soft_tokens(tmp_path):
    options = {"pool_type": "eos", "eos_id": 49407}
    config = tiny_clip_config(tmp_path, custom_text=True, text_options=options)
    assert frozen(config, image_tower=False).takes_soft_tokens
    config = tiny_clip_config(tmp_path, text_options={"pool_type": "last"}, name="last.json")
    weights = tiny_clip_weights(tmp_path, config)
    clip = frozen(config, weights)
    assert not isinstance(clip.text_tower, CausalTextTower)
    with torch.no_grad():
        torch.testing.assert_close(
            clip.encode_texts(TEXTS),
            reference(config, weights).encode_text(open_clip.tokenize(TEXTS), normalize=True),
        )


def test_foreign_text_tower_that_is_not_here(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="no config.json of xlm-roberta-base in the cache"):
        FrozenCLIP(model="xlm-roberta-base-ViT-B-32", image_tower=False)
