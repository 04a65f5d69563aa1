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
        "inference: 1/20 batches after 1 second",
        "inference: 3/20 batches after 3 seconds, about 17 seconds left",
        "inference: 7/20 batches after 7 seconds, about 13 seconds left",
        "inference: 11/20 batches after 11 seconds, about 9 seconds left",
        "inference: 15/20 batches after 15 seconds, about 5 seconds left",
        "inference: 19/20 batches after 19 seconds, about 1 second left",
    ]


def test_numbers_are_for_people(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = iter([0.0, *[0.0] * 1233, *[4000.0] * 9])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(seconds, 4000.0))
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    list(module.progress(range(10000), description="inference", unit="batch"))
    [message] = caplog.messages
    assert message.startswith("inference: 1,234/10,000 batches after 1 hour and 6 minutes, about 7")


@pytest.mark.parametrize(
    ("number", "unit", "written"),
    [(64, "file", "64 files"), (0, "batch", "0 batches"), (2, "MiB", "2 MiB")],
)
def test_units_agree_in_number(number: int, unit: str, written: str) -> None:
    assert module.counted(number, unit) == written
    assert module.counted(1, unit) == f"1 {unit}"


def test_short_work_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert list(module.progress(range(5), description="pictures")) == [0, 1, 2, 3, 4]
    assert caplog.messages == []


def test_plurals_are_spelt_by_sound() -> None:
    numbers = [module.counted(2, unit) for unit in ("batch", "epoch", "image", "MiB")]
    assert numbers == ["2 batches", "2 epochs", "2 images", "2 MiB"]
