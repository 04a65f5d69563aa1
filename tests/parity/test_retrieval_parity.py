"""Retrieval and keyword neighbours against the reference implementation's own numbers."""

from __future__ import annotations

import numpy as np
import pytest

from espnet_plugin.evaluation.keywords import nearest_tokens
from espnet_plugin.evaluation.retrieval import rank_scores, summarize
from tests.parity.fixtures import cases


@pytest.mark.parametrize(("content", "case"), cases("mutual_retrieval"))
def test_mutual_retrieval(content, case):
    inputs, outputs = case["inputs"], case["outputs"]
    ids = inputs["query_ids"].numpy(), inputs["item_ids"].numpy()
    forth, back = rank_scores(inputs["scores"].numpy(), *ids)
    recall_at = case["config"]["recall_at"]
    for k in recall_at:
        ours = {
            "a_to_b": 100 * summarize(forth, recall_at=recall_at).recall[k],
            "b_to_a": 100 * summarize(back, recall_at=recall_at).recall[k],
        }
        ours["mean"] = (ours["a_to_b"] + ours["b_to_a"]) / 2
        for name, value in ours.items():
            expected = outputs[name][f"recall@{k}"]
            assert value == pytest.approx(expected, rel=case["rtol"], abs=case["atol"])


def neighbour_cases() -> list:
    """The cases of kind misc that are about the neighbours of keywords."""
    return [
        parameter
        for parameter in cases("misc")
        if parameter.values[1] is None or parameter.values[1]["name"].startswith("keyword_neigh")
    ]


@pytest.mark.parametrize(("content", "case"), neighbour_cases())
def test_keyword_neighbours(content, case):
    config, inputs, outputs = case["config"], case["inputs"], case["outputs"]
    rows, scores = nearest_tokens(
        inputs["keywords"].numpy(), inputs["table"].numpy(), k=config["k"], method=config["method"]
    )
    ids = np.asarray(config["vocab"]["ids"])[rows]
    np.testing.assert_array_equal(ids, outputs["token_ids"].numpy())
    np.testing.assert_allclose(
        scores, outputs["scores"].numpy(), rtol=case["rtol"], atol=case["atol"]
    )
