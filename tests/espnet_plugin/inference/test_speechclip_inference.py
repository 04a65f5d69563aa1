"""What a keyword is called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from espnet_plugin.inference.speechclip_inference import SpeechCLIPInference
from espnet_plugin.speechclip import build_speechclip
from tests.tiny import tiny_hybrid_plus_config

SPEECH = (0.1 * np.random.RandomState(0).randn(32000)).astype(np.float32)  # 99 frames of 20 ms
MERGED = {"merge_repeats": True, "align_spans": True}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tiny_hybrid_plus_config(tmp_path_factory.mktemp("teachers"))


def inference(config: dict[str, Any], *, dtype: str = "float32", **options: Any) -> Any:
    torch.manual_seed(0)
    # a weight of about 1/4: a segment every four frames
    extractor = {"frames_per_keyword": 4, "initial_bias": -1.1, **options}
    config = {**config, "keyword_extractor_conf": extractor, "model_conf": MERGED}
    return SpeechCLIPInference(model=build_speechclip(config), dtype=dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_keyword_is_called_by_the_row_that_the_text_tower_read(
    config: dict[str, Any], dtype: str
) -> None:
    model = inference(config, dtype=dtype)
    table = model.model.token_table  # rows that 16 bits can hardly tell apart
    table.copy_(table[:1] + 0.003 * table.std() * torch.randn_like(table))
    output = model.encode(speech=torch.tensor(SPEECH)[None], speech_lengths=torch.tensor([32000]))
    found = output.keywords
    (result,) = model.results(output)
    number = int(found.lengths[0])
    rows = found.quantized.rows[0, :number]
    assert len(set(rows.tolist())) > 3 and number < int(output.keywords.cif.alphas.sum())
    assert found.slots.dtype == found.projected.dtype == found.embeddings.dtype == torch.float32
    torch.testing.assert_close(found.quantized.embeddings[0, :number], table[rows])
    # a mean in 16 bits would prefer rows that none of its members chose
    assert found.quantized.similarities[0, :number].argmax(dim=-1).tolist() == rows.tolist()
    ids = [model.model.vocabulary.ids[row] for row in rows.tolist()]
    for keyword, token_id in zip(result.keywords, ids, strict=True):
        assert keyword.token_id == keyword.top[0] == keyword.neighbours[0] == token_id


def test_the_row_that_was_read_comes_first_even_if_another_is_nearer(
    config: dict[str, Any],
) -> None:
    model = inference(config)
    output = model.encode(speech=torch.tensor(SPEECH)[None], speech_lengths=torch.tensor([32000]))
    quantized = output.keywords.quantized
    second = quantized.similarities.topk(2, dim=-1).indices[..., 1]
    quantized.rows.copy_(second)
    (result,) = model.results(output)
    keyword, ids = result.keywords[0], model.model.vocabulary.ids
    assert keyword.token_id == keyword.top[0] == ids[int(second[0, 0])]
    assert keyword.score == pytest.approx(float(quantized.similarities[0, 0, second[0, 0]]))
