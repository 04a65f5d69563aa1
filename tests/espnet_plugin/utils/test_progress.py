"""Lines in a log file where nobody watches."""

from __future__ import annotations

import logging

import pytest

from espnet_plugin.utils import progress as module


def test_lines_come_early_and_then_rarely(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    for _ in module.progress(range(20), description="inference", unit="batch", log_every=4.0):
        seconds[0] += 1
    assert caplog.messages == [
        "inference: 1/20 batch after 1 second",
        *(f"inference: {count}/20 batch after {count} seconds" for count in (3, 7, 11, 15, 19)),
    ]


def test_numbers_are_for_people(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = iter([0.0, *[0.0] * 1233, *[4000.0] * 9])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds, 4000.0))
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    list(module.progress(range(10000), description="inference", unit="batch"))
    assert caplog.messages == ["inference: 1,234/10,000 batch after 1 hour and 6 minutes"]


def test_short_work_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert list(module.progress(range(5), description="pictures")) == [0, 1, 2, 3, 4]
    assert caplog.messages == []
