from __future__ import annotations

import pytest

from espnet_plugin.pretrained.convert.report import ConversionReport


def test_every_weight_is_accounted_for_exactly_once() -> None:
    report = ConversionReport("x.ckpt", "hybrid+")
    report.add("mapped", "a", "ours.a")
    report.add("dropped", "b", "a copy")
    report.notes.append("epoch 3")
    report.check_complete(["b", "a"])
    assert str(report).splitlines() == [
        "x.ckpt: hybrid+, 2 weights",
        "dropped (1)",
        "  b  a copy",
        "mapped (1)",
        "  a  ours.a",
        "note: epoch 3",
    ]
    with pytest.raises(RuntimeError, match="does not account for every weight: c"):
        report.check_complete(["a", "b", "c"])
    report.add("dropped", "a", "again")
    with pytest.raises(RuntimeError, match="counted twice"):
        report.check_complete(["a", "b"])
