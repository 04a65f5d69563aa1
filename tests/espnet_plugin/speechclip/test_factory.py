"""What a configuration can choose."""

from __future__ import annotations

import pytest
import torch

from espnet_plugin.speechclip.attention import ATTENTIONS
from espnet_plugin.speechclip.clip import FrozenCLIP
from espnet_plugin.speechclip.factory import build_speechclip
from espnet_plugin.speechclip.keyword_extractor import KEYWORD_EXTRACTORS
from espnet_plugin.speechclip.model import SpeechCLIPModel
from espnet_plugin.speechclip.quantizer import QUANTIZERS
from espnet_plugin.speechclip.speech_encoder import FrozenSpeechEncoder, SpeechStates
from tests.tiny import CLIP_DIM, tiny_clip_config, tiny_clip_weights, tiny_hubert_dir


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    directory = tmp_path_factory.mktemp("teachers")
    config = tiny_clip_config(directory)
    return {
        "clip": FrozenCLIP(model=str(config), pretrained=str(tiny_clip_weights(directory, config))),
        "speech_encoder": FrozenSpeechEncoder("huggingface", model=str(tiny_hubert_dir(directory))),
    }


def build(teachers: dict[str, object], **config: object) -> SpeechCLIPModel:
    return build_speechclip({"keyword_vocabulary": [320, 2368, 1929], **config}, **teachers)


@pytest.mark.parametrize(
    "extractor, norm_conf, channels",
    [
        ("cls", {}, 3 * CLIP_DIM),
        ("cls", {"per_slot": False}, CLIP_DIM),
        ("cif", {}, CLIP_DIM),
        ("cif", {"per_slot": False}, CLIP_DIM),
    ],
)
def test_keyword_norm_is_per_slot_where_their_number_is_fixed_unless_told_not_to(
    teachers, extractor: str, norm_conf: dict[str, object], channels: int
) -> None:
    extractor_conf = {"num_keywords": 3} if extractor == "cls" else {}
    model = build(
        teachers,
        keyword_extractor=extractor,
        keyword_extractor_conf=extractor_conf,
        keyword_norm_conf=norm_conf | {"scale": 2.0},
    )
    norm = model.keyword_norm
    assert norm.norm.num_features == channels
    deviations = 2 * model.token_table.std(dim=0)
    assert torch.allclose(norm.norm.weight.view(CLIP_DIM, -1), deviations[:, None])


@pytest.mark.parametrize("extractor", ["cls", "cif"])
def test_keywords_without_a_norm(teachers, extractor: str) -> None:
    model = build(teachers, keyword_extractor=extractor, keyword_norm="none")
    assert not any(key.startswith("keyword_norm") for key in model.state_dict())
    layers = len(model.layer_weighting.weights)
    states = SpeechStates(torch.randn(2, layers, 9, model.dim), torch.tensor([9, 4]))
    keywords = model(states).keywords
    assert torch.equal(keywords.embeddings, keywords.projected)
    with pytest.raises(ValueError, match="keyword_norm: 'layer' is not known; .*batch, none"):
        build(teachers, keyword_norm="layer")


def test_unknown_option_of_the_norm_is_named_beside_the_known_ones(teachers) -> None:
    with pytest.raises(ValueError, match="keyword_norm_conf.*num_slots.*scale, per_slot"):
        build(teachers, keyword_norm_conf={"num_slots": 3})


@pytest.mark.parametrize(
    "key, registry",
    [
        ("attention", ATTENTIONS),
        ("keyword_extractor", KEYWORD_EXTRACTORS),
        ("quantizer", QUANTIZERS),
    ],
)
def test_every_registered_class_can_be_chosen(
    teachers, monkeypatch, key: str, registry: dict[str, type]
) -> None:
    for name in (*registry, "another"):

        class Chosen(registry.get(name, next(iter(registry.values())))):
            pass

        monkeypatch.setitem(registry, name, Chosen)
        assert type(getattr(build(teachers, **{key: name}), key)) is Chosen
    with pytest.raises(ValueError, match=f"{key}: 'nope' is not known; .*another"):
        build(teachers, **{key: "nope"})


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([320, 49408], "ids from 320 to 49408, but CLIP's tokens are 0 to 49407"),
        ([-1, 320], "holds -1, which is no token id"),
        ([49406, 49407], "special tokens are never chosen"),
    ],
)
def test_a_vocabulary_of_another_clip(teachers, ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(teachers, keyword_vocabulary=ids)
