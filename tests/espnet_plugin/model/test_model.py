"""All architectures: padding, frozen parts, gradients, outputs."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.model.model import SpeechCLIPModel
from espnet_plugin.teachers.backends.huggingface import HuggingFaceBackend
from espnet_plugin.teachers.clip import FrozenCLIP
from espnet_plugin.teachers.speech_encoder import FrozenSpeechEncoder, SpeechStates
from tests.tiny import tiny_clip_config, tiny_clip_weights, tiny_hubert_dir

ARCHITECTURES = {
    "parallel": {
        "keyword_extractor": "none",
        "attention": "transformer",
        "attention_conf": {"num_heads": 2},
    },
    "cascaded": {"keyword_extractor": "cls", "model_conf": {"parallel": False}},
    "cascaded_plus": {"keyword_extractor": "cif", "model_conf": {"parallel": False}},
    "hybrid": {"keyword_extractor": "cls"},
    "hybrid_plus": {"keyword_extractor": "cif"},
    "hybrid_plus_with_blanks": {
        "attention_conf": {"feed_forward_dim": 8, "feed_forward_width": 3},
        "keyword_extractor": "cif",
        "keyword_extractor_conf": {"frames_per_keyword": 3},
        "quantizer_conf": {"hard": False},
        "model_conf": {"blank": True, "trained_keys": True, "align_spans": True},
    },
}
VOCABULARY = [320, 2368, 1929, 49406, 3306, 6829, 2866]


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    directory: Path = tmp_path_factory.mktemp("teachers")
    config = tiny_clip_config(directory)
    clip = FrozenCLIP(model=str(config), pretrained=str(tiny_clip_weights(directory, config)))
    encoder = FrozenSpeechEncoder(HuggingFaceBackend(model=str(tiny_hubert_dir(directory))))
    return {"clip": clip, "speech_encoder": encoder}


def build(name: str, teachers: dict[str, object]) -> SpeechCLIPModel:
    torch.manual_seed(0)
    return build_speechclip({"keyword_vocabulary": VOCABULARY, **ARCHITECTURES[name]}, **teachers)


def states(model: SpeechCLIPModel, lengths: list[int]) -> SpeechStates:
    encoder = model.speech_encoder
    hidden = torch.randn(len(lengths), encoder.num_layers, max(lengths), encoder.dim)
    return SpeechStates(hidden, torch.tensor(lengths))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_utterance_is_the_same_alone_and_in_a_batch(name, teachers):
    model = build(name, teachers).eval()
    speech = torch.randn(3, 16000) * 0.1
    lengths = torch.tensor([16000, 9000, 3000])
    batch = model.encode_speech(speech, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = model.encode_speech(speech[row : row + 1, :length])
        for branch in ("parallel", "cascaded"):
            if getattr(batch, branch) is not None:
                difference = (getattr(batch, branch)[row] - getattr(alone, branch)[0]).abs().max()
                assert difference <= 1e-5
        frames = int(alone.lengths)
        torch.testing.assert_close(
            batch.states[0][row, :frames], alone.states[0][0], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_batch_in_parts_gives_the_same(name, teachers):
    model = build(name, teachers).eval()
    torch.manual_seed(0)
    batch = states(model, [12, 9, 4])
    hidden, lengths = batch.hidden_states, batch.lengths
    parts = [SpeechStates(hidden[:1], lengths[:1]), SpeechStates(hidden[1:, :, :9], lengths[1:])]
    with torch.no_grad():
        whole, joined = model(batch), model(*parts)
    for branch in ("parallel", "cascaded"):
        torch.testing.assert_close(getattr(joined, branch), getattr(whole, branch))
    if whole.keywords is not None:
        assert torch.equal(joined.keywords.quantized.rows, whole.keywords.quantized.rows)
        if whole.keywords.cif is not None:
            assert torch.equal(joined.keywords.cif.starts, whole.keywords.cif.starts)
            assert torch.equal(joined.keywords.cif.ends, whole.keywords.cif.ends)


def test_one_utterance_and_arrays_are_taken_and_the_rest_is_refused(teachers):
    model = build("parallel", teachers).eval()
    speech = torch.randn(2, 4000) * 0.1
    expected = model.encode_speech(speech).parallel
    assert torch.equal(model.encode_speech(speech.numpy(), [4000, 4000]).parallel, expected)
    double = model.encode_speech(speech.double().numpy()).parallel  # as soundfile reads
    torch.testing.assert_close(double, expected, rtol=0, atol=1e-5)
    alone = model.encode_speech(speech[0], sampling_rate=16000).parallel
    torch.testing.assert_close(alone, expected[:1], rtol=0, atol=1e-5)
    with pytest.raises(TypeError, match="type list.*SpeechCLIP"):
        model.encode_speech([speech[0], speech[1]])
    with pytest.raises(TypeError, match="type str"):
        model.encode_speech("speech.wav")
    with pytest.raises(ValueError, match="44100 Hz, the speech encoder needs 16000 Hz"):
        model.encode_speech(speech, sampling_rate=44100)
    with pytest.raises(ValueError, match=r"\(batch, samples\), not \(1, 2, 4000\)"):
        model.encode_speech(speech[None])


def test_a_string_is_one_text(teachers):
    model = build("parallel", teachers)
    expected = model.clip.encode_texts(["a red car"])
    assert torch.equal(model.clip.encode_texts("a red car"), expected)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_only_the_block_is_trained(name, teachers):
    model = build(name, teachers).train()
    output = model(states(model, [30, 20]), target_lengths=torch.tensor([2, 1]))
    sum(e.sum() for e in (output.parallel, output.cascaded) if e is not None).backward()
    for key, parameter in model.named_parameters():
        frozen = key.startswith(model.frozen_prefixes)
        assert parameter.requires_grad is not frozen, key
        # The last layer's weights reach the embeddings in every architecture.
        assert (parameter.grad is None) or not frozen, key
    without = [k for k, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without
    assert not model.clip.training and not model.speech_encoder.training


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_embeddings_have_unit_length(name, teachers):
    model = build(name, teachers).eval()
    output = model(states(model, [30, 1]))
    assert (output.parallel is None) == (name in ("cascaded", "cascaded_plus"))
    assert (output.cascaded is None) == (name == "parallel")
    for embeddings in (output.parallel, output.cascaded):
        if embeddings is not None:
            torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2))


def test_special_tokens_are_never_keywords(teachers):
    model = build("hybrid_plus", teachers).eval()
    table = model.keyword_branch.table
    table[VOCABULARY.index(49406)] = 100 * torch.ones(table.size(1))
    rows = model(states(model, [80, 60])).keywords.quantized.rows
    assert VOCABULARY.index(49406) not in rows


def test_padding_may_hold_anything(teachers):
    model = build("hybrid_plus", teachers).eval()
    clean = states(model, [30, 12])
    dirty = clean.hidden_states.clone()
    dirty[1, :, 12:] = torch.nan
    for ours, theirs in zip(
        (model(clean).parallel, model(clean).cascaded),
        (
            model(SpeechStates(dirty, clean.lengths)).parallel,
            model(SpeechStates(dirty, clean.lengths)).cascaded,
        ),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "config, message",
    [
        (
            {"keyword_extractor": "none", "model_conf": {"parallel": False}},
            "needs model_conf.parallel",
        ),
        ({"keyword_extractor": "hmm"}, "choose from cif, cls"),
        ({"keyword_extractor_conf": {"widht": 3}}, "has no option widht"),
        ({"keyword_vocabulary": None}, "keyword_vocabulary"),
        ({"keyword_vocabulary": [5, 5]}, "twice"),
        ({"model_conf": {"compatibility": {"typo": True}}}, "typo"),
    ],
)
def test_bad_configurations_say_what_is_wrong(config, message, teachers):
    with pytest.raises(ValueError, match=message):
        build_speechclip({"keyword_vocabulary": VOCABULARY, **config}, **teachers)


def test_aligned_spans_divide_the_frames_and_change_nothing_else(teachers):
    model = build("hybrid_plus_with_blanks", teachers).eval()
    given = states(model, [40, 25])
    aligned = model(given)
    model.keyword_branch.align_spans = False
    fired = model(given)
    torch.testing.assert_close(aligned.cascaded, fired.cascaded)
    assert torch.equal(aligned.keywords.lengths, fired.keywords.lengths)
    cif = aligned.keywords.cif
    for row, number in enumerate(cif.lengths.tolist()):
        starts, ends = cif.starts[row, :number].tolist(), cif.ends[row, :number].tolist()
        assert starts == [0, *ends[:-1]] and ends[-1] == [40, 25][row]
        assert all(start < end for start, end in zip(starts, ends, strict=True))


def test_blanks_leave_keywords_out_but_never_all(teachers):
    model = build("hybrid_plus_with_blanks", teachers).eval()
    branch, batch = model.keyword_branch, states(model, [12, 9, 4])
    with torch.no_grad():
        few_blanks = model(batch)  # none is likely
        branch.blank.bias.fill_(9.0)
        all_blank = model(batch)
        branch.blank = None
        segments = model(batch).keywords
    said = zip(segments.quantized.rows.tolist(), segments.lengths.tolist(), strict=True)
    runs = [len(list(groupby(rows[:number]))) for rows, number in said]
    assert few_blanks.keywords.lengths.tolist() == runs
    assert all_blank.keywords.lengths.tolist() == [1, 1, 1]


def test_keys_start_as_the_table_and_choose_what_the_text_tower_reads(teachers):
    model = build("hybrid_plus_with_blanks", teachers).eval()
    branch = model.keyword_branch
    torch.testing.assert_close(normalize(branch.keys), normalize(branch.table))
    batch = states(model, [12, 9])
    with torch.no_grad():
        said = normalize(model(batch).keywords.embeddings[0, 0], dim=-1)
        branch.key_offsets[4] = 1e6 * said  # that of row 4 now lies where the keyword does
        first = model(batch).keywords.quantized
    assert first.rows[0, 0] == 4
    torch.testing.assert_close(first.embeddings[0, 0], branch.table[4])


def test_blanks_need_mixtures(teachers):
    with pytest.raises(ValueError, match="needs quantizer_conf.hard: false"):
        conf = {**ARCHITECTURES["hybrid_plus_with_blanks"], "quantizer_conf": {"hard": True}}
        build_speechclip({"keyword_vocabulary": VOCABULARY, **conf}, **teachers)
