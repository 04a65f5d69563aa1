"""What a configuration can choose."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espnet_plugin.model.attention import AttentionBlock
from espnet_plugin.model.factory import COMPONENTS, build_speechclip, without_idle
from espnet_plugin.model.keyword_extractor import Slots
from espnet_plugin.model.keyword_norm import KeywordBatchNorm
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.model.quantizer import TokenQuantizer
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder, SpeechStates
from tests.tiny import CLIP_DIM, HUBERT_DIM, tiny_clip_config, tiny_clip_weights, tiny_hubert_dir


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    directory = tmp_path_factory.mktemp("teachers")
    config = tiny_clip_config(directory)
    backend = HuggingFaceBackend(model=str(tiny_hubert_dir(directory)))
    return {
        "clip": FrozenCLIP(model=str(config), pretrained=str(tiny_clip_weights(directory, config))),
        "speech_encoder": FrozenSpeechEncoder(backend),
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
    norm = model.keyword_branch.norm
    assert norm.norm.num_features == channels
    deviations = 2 * model.keyword_branch.table.std(dim=0)
    assert torch.allclose(norm.norm.weight.view(CLIP_DIM, -1), deviations[:, None])


def test_time_masks_act_in_training_only(teachers) -> None:
    model = build(teachers, model_conf={"time_masks": 2})
    plain = build(teachers)
    plain.load_state_dict(model.state_dict())
    layers = len(model.layer_weighting.weights)
    states = SpeechStates(torch.randn(2, layers, 9, model.speech_encoder.dim), torch.tensor([9, 4]))
    assert torch.equal(model.eval()(states).parallel, plain.eval()(states).parallel)
    assert not torch.equal(model.train()(states).parallel, plain.train()(states).parallel)


def test_reach_spares_the_query_and_needs_segments(teachers) -> None:
    for parallel in (True, False):
        model = build(teachers, attention_conf={"reach": 16}, model_conf={"parallel": parallel})
        assert (model.attention.reach, model.num_queries) == (16, int(parallel))
    with pytest.raises(ValueError, match="attention_conf.reach needs keyword_extractor: cif"):
        build(teachers, attention_conf={"reach": 16}, keyword_extractor="cls")
    own = build(teachers, attention_conf={"reach": 16}, keyword_extractor=f"{__name__}:TwoQueries")
    assert own.num_queries == 3


@pytest.mark.parametrize("extractor", ["cls", "cif"])
def test_keywords_without_a_norm(teachers, extractor: str) -> None:
    model = build(teachers, keyword_extractor=extractor, keyword_norm="none")
    assert not any(key.startswith("keyword_branch.norm") for key in model.state_dict())
    layers = len(model.layer_weighting.weights)
    states = SpeechStates(torch.randn(2, layers, 9, model.speech_encoder.dim), torch.tensor([9, 4]))
    keywords = model(states).keywords
    assert torch.equal(keywords.embeddings, keywords.projected)


def test_a_model_of_another_form_does_not_open_as_another_model(teachers) -> None:
    with pytest.raises(ValueError, match=r"model_conf.merge_repeats: .* Commit e559eb6"):
        build(teachers, model_conf={"merge_repeats": True})
    with pytest.raises(ValueError, match="model_conf has no option blanks"):
        build(teachers, model_conf={"blanks": True})
    of_training = {"repeat_weight": 0.1, "bank_weight": 0.5, "cross_lingual_weight": 1.0}
    build(teachers, model_conf={"merge_repeats": False, "bank_softness": 0.0, **of_training})


def test_a_training_without_soft_targets_is_not_continued_with_them() -> None:
    for conf, kept in (
        ({"bank_weight": 0.5, "bank_softness": 0.3}, {"bank_weight": 0.5}),
        ({"bank_weight": 0.0, "bank_softness": 0.1}, {"bank_weight": 0.0}),
        ({"bank_weight": 0.5, "bank_softness": 0.0}, {"bank_weight": 0.5, "bank_softness": 0.0}),
    ):
        assert without_idle(conf) == kept


@pytest.mark.parametrize("key", ["attention", "keyword_extractor", "keyword_norm", "quantizer"])
def test_a_class_is_named_by_our_word_or_as_ones_own(teachers, key: str) -> None:
    for word, ours in COMPONENTS[key].items():
        module = part_of(build(teachers, **{key: word}), key)
        assert module is None if ours is None else type(module) is ours
    own = OWN[key]
    model = build(teachers, **{key: f"{__name__}:{own.__name__}"})
    assert type(part_of(model, key)) is own
    states = SpeechStates(torch.randn(2, 3, 9, model.speech_encoder.dim), torch.tensor([9, 4]))
    assert model(states).cascaded.shape == (2, CLIP_DIM)
    with pytest.raises(ValueError, match=f"{key}: 'xyz' is not known; .*module:Class"):
        build(teachers, **{key: "xyz"})


def part_of(model: SpeechCLIPModel, key: str) -> nn.Module | None:
    """What a key of the configuration names."""
    if key == "attention":
        return model.attention
    return model.keyword_branch and getattr(model.keyword_branch, key.removeprefix("keyword_"))


def test_errors_of_a_class_of_ones_own_say_what_to_do(teachers) -> None:
    own = f"{__name__}:EachFrame"
    with pytest.raises(ValueError, match="keyword_extractor_conf .* strid .did you mean stride."):
        build(teachers, keyword_extractor=own, keyword_extractor_conf={"strid": 2})
    for name, reason in (
        (f"{__name__}:Frame", "has no attribute 'Frame'"),
        ("no_such_module:Frame", "No module named 'no_such_module'"),
        (":Frame", "Empty module name"),
    ):
        with pytest.raises(ValueError, match=f"keyword_extractor: {name} .*{reason}.*PYTHONPATH"):
            build(teachers, keyword_extractor=name)


class EachFrame(nn.Module):
    """Every frame is a keyword: the least that a keyword extractor has."""

    num_queries, num_slots = 0, None

    def __init__(self, dim: int, *, stride: int = 1) -> None:
        super().__init__()

    def target_lengths(self, frame_lengths, subword_lengths=None):
        return None

    def forward(self, queries, frames, lengths, *, target_lengths=None, step=None):
        return Slots(frames, lengths)


class TwoQueries(EachFrame):
    num_queries = 2
    queries = torch.zeros(2, HUBERT_DIM)


class OwnAttention(AttentionBlock):
    pass


class OwnNorm(KeywordBatchNorm):
    pass


class OwnQuantizer(TokenQuantizer):
    pass


OWN = {
    "attention": OwnAttention,
    "keyword_extractor": EachFrame,
    "keyword_norm": OwnNorm,
    "quantizer": OwnQuantizer,
}


def test_a_batch_in_parts_gives_the_same_with_an_extractor_of_ones_own(teachers) -> None:
    model = build(teachers, keyword_extractor=f"{__name__}:EachFrame").eval()
    lengths = torch.tensor([9, 4])
    hidden = torch.randn(2, 3, 9, model.speech_encoder.dim)
    parts = [SpeechStates(hidden[:1], lengths[:1]), SpeechStates(hidden[1:, :, :4], lengths[1:])]
    whole, in_parts = model(SpeechStates(hidden, lengths)), model(*parts)
    torch.testing.assert_close(in_parts.cascaded, whole.cascaded)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([320, 49408], "ids from 320 to 49408, but CLIP's tokens are 0 to 49407"),
        ([-1, 320], "holds -1, which is not a token id"),
        ([49406, 49407], "fewer than two sub-words beside special tokens"),
    ],
)
def test_a_vocabulary_of_another_clip(teachers, ids: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(teachers, keyword_vocabulary=ids)
