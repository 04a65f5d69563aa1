"""Retrieval against the reference implementation's own numbers."""

from __future__ import annotations

import pytest

from espnet_plugin.evaluation.retrieval import summarize
from tests.parity.fixtures import cases
from tests.ranks import rank_scores


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
