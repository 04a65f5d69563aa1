"""Words that are said again, against the obvious loop and on sounds made by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from espnet_plugin.model.recurrence import (
    BESIDE,
    LONGEST,
    SHORTEST,
    WINDOW,
    recurrence,
    said_again,
)

DIM = 32
WORD, OTHER, PAUSE = 20, 24, 8  # frames


def word(seed: int, frames: int) -> torch.Tensor:
    """Sounds that change from frame to frame as speech does, (frames, dim)."""
    generator = torch.Generator().manual_seed(seed)
    sounds = torch.randn(frames // 4 + 1, DIM, generator=generator).T[None]
    return F.interpolate(sounds, frames, mode="linear")[0].T


def heard(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    sounds = torch.cat(parts)[None]
    return sounds, torch.tensor([sounds.size(1)])


def test_it_is_the_formula_of_the_docstring() -> None:
    lengths = torch.tensor([60, 45])
    sounds = torch.randn(2, 60, DIM, generator=torch.Generator().manual_seed(0))
    found = recurrence(sounds, lengths)
    for row, length in enumerate(lengths.tolist()):
        own = sounds[row, :length]
        x = F.normalize(own - own.mean(dim=0), dim=-1)
        for t in range(found.size(1)):
            for place in range(found.size(2)):
                lag = SHORTEST + place
                if t + lag + WINDOW > length:
                    assert found[row, t, place] == -torch.inf
                    continue
                sooner, now, later = (
                    sum(
                        x[t + k] @ x[t + k + after] for k in range(WINDOW) if t + k + after < length
                    )
                    / WINDOW
                    for after in (lag - BESIDE, lag, lag + BESIDE)
                )
                torch.testing.assert_close(found[row, t, place], now - max(sooner, later))


def test_speech_of_several_blocks_is_that_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sounds = torch.randn(1, 300, DIM, generator=torch.Generator().manual_seed(0))
    found = recurrence(sounds, torch.tensor([300]))
    assert found.size(2) == LONGEST - SHORTEST + 1
    monkeypatch.setattr("espnet_plugin.model.recurrence._BLOCK", 512)
    torch.testing.assert_close(found, recurrence(sounds, torch.tensor([300])))


@pytest.mark.parametrize("pause", [0, PAUSE])
def test_a_word_that_is_said_again_begins_a_part_of_its_own(pause: int) -> None:
    sounds, length = heard(word(1, WORD), torch.zeros(pause, DIM), word(1, WORD), word(2, OTHER))
    second = WORD + pause
    stretches = (torch.arange(int(length)) >= second + WORD).long()[None]
    parts = said_again(sounds, length, stretches, least=0.35)[0]
    begins = parts.diff().nonzero().flatten() + 1
    assert parts[0] == 0 and len(begins) == 2
    assert abs(int(begins[0]) - (second - pause // 2)) <= WORD // 4
    assert begins[1] == second + WORD


@pytest.mark.parametrize(("end", "wanted"), [(34, [17] * 2), (33, [33])])
def test_a_stretch_is_divided_in_the_middle_if_it_holds_both_windows(end: int, wanted) -> None:
    """Frames 0 to 13 come again as 20 to 33; the others are like no frame."""
    again = [*range(14), *range(14, 20), *range(14), *range(20, 26)]
    sounds, length = heard(torch.eye(26)[again])
    stretches = (torch.arange(40) >= end).long()[None]
    parts = said_again(sounds, length, stretches, least=0.35)[0]
    assert parts.bincount().tolist() == [*wanted, 40 - end]


def test_a_word_said_three_times_has_three_parts() -> None:
    sounds, length = heard(*[word(1, WORD)] * 3, word(2, OTHER))
    stretches = (torch.arange(int(length)) >= 3 * WORD).long()[None]
    assert said_again(sounds, length, stretches, least=0.35)[0].unique().tolist() == [0, 1, 2, 3]


def test_a_long_word_and_a_pause_stay_one_part() -> None:
    sounds, length = heard(torch.zeros(30, DIM), word(1, 40), torch.zeros(30, DIM))
    stretches = torch.zeros(1, int(length), dtype=torch.long)
    assert not said_again(sounds, length, stretches, least=0.35).any()


def test_a_word_said_again_after_another_one_divides_nothing() -> None:
    sounds, length = heard(word(1, WORD), word(2, WORD), word(1, WORD))
    stretches = (torch.arange(3 * WORD) // WORD)[None]
    assert torch.equal(said_again(sounds, length, stretches, least=0.35), stretches)


def test_what_is_at_padding_does_not_matter() -> None:
    sounds, length = heard(word(1, WORD), word(1, WORD), word(2, OTHER))
    alone = said_again(sounds, length, torch.zeros(1, int(length), dtype=torch.long), least=0.35)
    padded = torch.cat([sounds, sounds.flip(1)], dim=1)
    found = said_again(padded, length, torch.zeros(1, padded.size(1), dtype=torch.long), least=0.35)
    assert torch.equal(found[:, : int(length)], alone)


def test_speech_too_short_to_come_again_stays_one_part() -> None:
    sounds, length = heard(word(1, SHORTEST + WINDOW - 1))
    stretches = torch.zeros(1, int(length), dtype=torch.long)
    assert said_again(sounds, length, stretches, least=0.35) is stretches
