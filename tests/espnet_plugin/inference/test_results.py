"""What a keyword is called, and how far keywords reach in a long recording."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from espnet_plugin import SpeechCLIP
from espnet_plugin.apps.demo.backend import Backend
from espnet_plugin.apps.search.encoder import embed_recording
from espnet_plugin.data.keyword_file import Keyword
from espnet_plugin.inference.results import _sounding as sounding
from espnet_plugin.inference.results import utterance_results
from espnet_plugin.model.factory import build_speechclip
from espnet_plugin.teachers.speech_batch import waveform_batch
from tests.tiny import tiny_hybrid_plus_config

SPEECH = (0.1 * np.random.RandomState(0).randn(32000)).astype(np.float32)  # 99 frames of 20 ms
MERGED = {"blank": True, "align_spans": True}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tiny_hybrid_plus_config(tmp_path_factory.mktemp("teachers"))


def inference(config: dict[str, Any], *, dtype: str = "float32", **options: Any) -> SpeechCLIP:
    torch.manual_seed(7)
    # a weight of about 1/4: a segment every four frames
    extractor = {"frames_per_keyword": 4, "initial_bias": -1.1, **options}
    config = {**config, "keyword_extractor_conf": extractor, "model_conf": MERGED}
    config["quantizer_conf"] = {"hard": False}
    return SpeechCLIP(build_speechclip(config), source="unused", device="cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_keyword_is_called_by_the_row_that_the_text_tower_read(
    config: dict[str, Any], dtype: str
) -> None:
    model = inference(config, dtype=dtype)
    table = model.model.keyword_branch.table  # rows that 16 bits can hardly tell apart
    table.copy_(table[:1] + 0.003 * table.std() * torch.randn_like(table))
    output = model.encode(waveform_batch(SPEECH))
    found = output.keywords
    (result,) = utterance_results(model.model, output, [SPEECH])
    number = int(found.lengths[0])
    rows = found.quantized.rows[0, :number]
    assert len(set(rows.tolist())) > 2 and number < int(output.keywords.cif.alphas.sum())
    assert found.slots.dtype == found.projected.dtype == found.embeddings.dtype == torch.float32
    torch.testing.assert_close(found.quantized.embeddings[0, :number], table[rows])
    # a mean in 16 bits would prefer rows that none of its members chose
    assert found.quantized.similarities[0, :number].argmax(dim=-1).tolist() == rows.tolist()
    ids = [model.model.keyword_branch.vocabulary.ids[row] for row in rows.tolist()]
    for keyword, token_id in zip(result.keywords, ids, strict=True):
        assert keyword.token_id == keyword.top[0] == token_id


def test_the_row_that_was_read_comes_first_even_if_another_is_nearer(
    config: dict[str, Any],
) -> None:
    model = inference(config)
    output = model.encode(waveform_batch(SPEECH))
    quantized = output.keywords.quantized
    second = quantized.similarities.topk(2, dim=-1).indices[..., 1]
    quantized.rows.copy_(second)
    (result,) = utterance_results(model.model, output, [SPEECH])
    keyword, ids = result.keywords[0], model.model.keyword_branch.vocabulary.ids
    assert keyword.token_id == keyword.top[0] == ids[int(second[0, 0])]
    assert keyword.score == pytest.approx(float(quantized.similarities[0, 0, second[0, 0]]))


def test_a_keyword_has_no_quiet_at_its_ends(config: dict[str, Any]) -> None:
    model = inference(config)
    samples = np.concatenate([SPEECH, np.zeros(16000, np.float32), SPEECH])
    found = model.encode(waveform_batch(samples)).keywords
    number = int(found.lengths[0])
    spans = torch.stack([found.cif.starts[0, :number], found.cif.ends[0, :number]], dim=1).tolist()
    expected = []
    for start, end in spans:
        loud = [frame for frame in range(start, end) if not 100 <= frame < 150] or [start, end - 1]
        expected += [(loud[0] * 0.02, (loud[-1] + 1) * 0.02)]
    assert [(keyword.start, keyword.end) for keyword in model(samples).keywords] == expected
    assert any(start < 100 < end for start, end in spans)


def test_a_keyword_that_begins_or_ends_with_a_break_is_cut_there() -> None:
    samples = np.concatenate([SPEECH[:16000], np.zeros(16000, np.float32), SPEECH[:16000]])
    keywords = [Keyword(1, "a", (1,), *span) for span in ((0.5, 2.0), (1.0, 2.5))]
    found = sounding(keywords, samples, 16000)
    assert [(keyword.start, keyword.end) for keyword in found] == [(0.5, 1.0), (2.0, 2.5)]


def test_keywords_of_a_long_recording_end_where_the_last_segment_does(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, whole = inference(config, max_keywords=8), inference(config)
    wav = tmp_path / "long.wav"
    soundfile.write(wav, SPEECH, 16000, subtype="FLOAT")
    result = model(wav)
    output = model.encode(waveform_batch(SPEECH))
    assert output.keywords.cif.dropped.tolist() != [0]
    # eight segments of about four frames of 20 ms, fewer keywords since neighbours are merged
    assert len(result.keywords) < 8 and 0.5 < result.keywords_end < 0.9
    assert result.keywords[-1].end == result.keywords_end
    assert model.keyword_seconds == pytest.approx(8 * 4 * 0.02)
    message = f"{wav}: more than 8 segments, so its keywords end at {result.keywords_end:.1f} s"
    assert message in caplog.text
    caplog.clear()
    result = whole(wav)
    assert result.keywords_end is None and result.keywords[-1].end == pytest.approx(99 * 0.02)
    assert not caplog.records


def test_who_asks_for_the_cascaded_branch_is_warned(
    config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    for ask in (SpeechCLIP.__call__, partial(SpeechCLIP.encode_speech, branch="both")):
        model = inference(config, max_keywords=8)
        model.encode_speech([SPEECH])
        assert not caplog.records
        ask(model, SPEECH)
        assert "speech: more than 8 segments" in caplog.text
        caplog.clear()
    assert model.keyword_seconds == pytest.approx(0.64)


def test_keywords_of_a_long_recording_are_those_of_an_index(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Noise of two seconds twice, with a pause between. Keywords reach 0.64 s at once."""
    model = inference(config, max_keywords=8)
    model.max_seconds = 0.5  # a limit of what is embedded
    samples = np.concatenate([SPEECH, np.zeros(16000, np.float32), SPEECH])
    soundfile.write(tmp_path / "talk.wav", samples, 16000, subtype="FLOAT")
    words = model.keywords(tmp_path / "talk.wav")
    _, windows = embed_recording(inference(config, max_keywords=8), str(tmp_path / "talk.wav"))
    assert words == [word for window in windows for word in window.words]
    assert len(windows) > 6 and model.window_seconds == pytest.approx(0.64)
    assert words[0].start < 0.1 and 4.8 < words[-1].end <= 5
    assert all(word.start < 2.2 or word.start > 2.8 for word in words)
    assert "only the first" not in caplog.text


def test_the_first_window_whose_keywords_end_early_is_named_by_its_time(
    config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples, talk = np.concatenate([np.zeros(16000, np.float32), SPEECH]), tmp_path / "talk.wav"
    soundfile.write(talk, samples, 16000, subtype="FLOAT")
    for hear in (
        lambda model: model.keywords(samples),
        lambda model: embed_recording(model, str(talk)),
        lambda model: Backend(model, fingerprint="").hear(samples),
    ):
        # fires more often than that
        model = inference(config, max_keywords=8, frames_per_keyword=10)
        hear(model)
        hear(model)
        ends = re.findall(r"keywords end at (\S+) s", caplog.text)
        assert len(ends) == 1 and 1.2 < float(ends[0]) < 3
        caplog.clear()


def test_keywords_without_a_rate_have_no_such_limit(config: dict[str, Any]) -> None:
    assert inference(config, target="subwords").keyword_seconds is None
    queries = {**config, "keyword_extractor": "cls", "keyword_extractor_conf": {"num_keywords": 3}}
    model = SpeechCLIP(build_speechclip(queries), source="unused", device="cpu")
    assert model.keyword_seconds is None and model(SPEECH).keywords_end is None
