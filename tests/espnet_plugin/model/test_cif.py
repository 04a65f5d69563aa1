"""Integrate-and-fire against hand-computed numbers and an obvious loop over frames."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.model.cif import (
    duration_targets,
    fire,
    integrate,
    quantity_loss,
)
from espnet_plugin.model.keyword_extractor import CifKeywordExtractor, Segments


def fire_by_loop(features, alphas, threshold, tail_threshold, max_slots):
    """One utterance, frame by frame, as the papers tell it: (slots, fired frames)."""
    slots, fired = [], []
    collected, weight = torch.zeros(features.size(1), dtype=torch.float64), 0.0
    for t, (frame, alpha) in enumerate(
        zip(features.double(), alphas.double().tolist(), strict=True)
    ):
        while weight + alpha >= threshold:
            used = threshold - weight
            slots.append(collected + used * frame)
            fired.append(t)
            alpha -= used
            collected, weight = torch.zeros_like(collected), 0.0
        collected, weight = collected + alpha * frame, weight + alpha
    if not slots:
        return [collected], fired
    if tail_threshold is not None and weight >= tail_threshold and len(slots) < max_slots:
        slots.append(collected * threshold / weight)
    return slots[:max_slots], fired


# Multiples of 1/64 are exact in floating point, so the loop and the closed form fire alike.
WEIGHTS = st.integers(0, 160).map(lambda value: value / 64)


@st.composite
def batches(draw):
    frames = draw(st.integers(1, 12))
    rows = draw(st.integers(1, 4))
    lengths = [draw(st.integers(1, frames)) for _ in range(rows)]
    alphas = torch.zeros(rows, frames)
    for row, length in enumerate(lengths):
        alphas[row, :length] = torch.tensor(
            draw(st.lists(WEIGHTS, min_size=length, max_size=length))
        )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    return torch.randn(rows, frames, 3, generator=generator), alphas, lengths


@settings(max_examples=60, deadline=None)
@given(
    batches(),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([None, 0.25, 0.5]),
    st.integers(1, 6),
)
def test_equals_the_obvious_loop(batch, threshold, tail_threshold, max_slots):
    features, alphas, lengths = batch
    shares, ours = fire(
        alphas, threshold=threshold, tail_threshold=tail_threshold, max_slots=max_slots
    )
    embeddings = integrate(shares, features)
    for row, length in enumerate(lengths):
        slots, fired = fire_by_loop(
            features[row, :length], alphas[row, :length], threshold, tail_threshold, max_slots
        )
        assert ours.lengths[row] == len(slots)
        expected = torch.stack(slots).float()
        torch.testing.assert_close(embeddings[row, : len(slots)], expected, rtol=1e-5, atol=1e-5)
        assert not embeddings[row, len(slots) :].any()
        marks = set(ours.fired[row].nonzero()[:, 0].tolist())
        assert set(fired[:max_slots]) <= marks
        assert len(marks) <= len(slots)


def test_hand_computed_slots():
    features = torch.tensor([[[1.0], [2.0], [4.0], [8.0]]])
    alphas = torch.tensor([[0.5, 0.75, 2.0, 0.5]])
    shares, ours = fire(alphas, tail_threshold=0.5, max_slots=5)
    embeddings, ours = integrate(shares, features), ours.cut(4)
    # 0.5*1 + 0.5*2 | 0.25*2 + 0.75*4 | 1*4 | the rest of frame 2 and frame 3: (0.25*4 + 0.5*8) /
    # 0.75
    torch.testing.assert_close(embeddings[0, :, 0], torch.tensor([1.5, 3.5, 4.0, 20 / 3, 0.0]))
    assert ours.lengths.tolist() == [4]
    assert ours.fired.tolist() == [[False, True, True, True]]
    assert ours.starts.tolist() == [[0, 1, 2, 2]]
    assert ours.ends.tolist() == [[2, 3, 3, 4]]


def test_exact_edges_count_and_silence_belongs_to_no_slot():
    """A tail of exactly the threshold is a slot, and a slot begins with the frame that fills it."""
    alphas = torch.tensor([[1.0, 0.0, 0.0, 0.75, 0.25, 0.5]])
    _, ours = fire(alphas, tail_threshold=0.5, max_slots=3)
    assert ours.lengths.tolist() == [3]
    assert ours.starts.tolist() == [[0, 3, 5]]
    assert ours.ends.tolist() == [[1, 5, 6]]


def test_silence_gives_one_empty_slot():
    shares, ours = fire(torch.zeros(1, 3))
    assert ours.lengths.tolist() == [1]
    assert not shares.any()
    assert not ours.fired.any()


def test_gradients_are_exact():
    torch.manual_seed(0)
    features = torch.randn(2, 6, 3, dtype=torch.double, requires_grad=True)
    alphas = (torch.rand(2, 6, dtype=torch.double) * 1.7).requires_grad_()

    def slots(features, alphas):
        return integrate(fire(alphas, max_slots=8)[0], features)

    assert torch.autograd.gradcheck(slots, (features, alphas))


def test_gradient_where_a_frame_ends_on_the_threshold():
    features = torch.tensor([[[1.0], [3.0], [5.0]]])
    alphas = torch.tensor([[0.5, 0.5, 1.0]], requires_grad=True)
    integrate(fire(alphas)[0], features)[0, 0].sum().backward()
    # More weight in frame 0 pushes frame 1 out of the slot; frame 1's own surplus goes to the next
    # slot.
    assert alphas.grad.tolist() == [[-2.0, 0.0, 0.0]]


def segments(cif: CifKeywordExtractor, features, lengths, **options) -> Segments:
    return cif(features[:, :0], features, lengths, **options)


def test_runs_alike_twice_and_under_autocast():
    torch.manual_seed(0)
    cif = CifKeywordExtractor(8, dropout=0.0).eval()
    features, lengths = torch.randn(3, 40, 8), torch.tensor([40, 21, 3])
    first, second = segments(cif, features, lengths), segments(cif, features, lengths)
    assert torch.equal(first.cut(5).embeddings, second.cut(5).embeddings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        third = segments(cif, features, lengths).cut(5)
    assert torch.equal(first.cut(5).embeddings, third.embeddings)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.sampled_from([(3, 1), (5, 2)]))
def test_padding_and_batch_do_not_matter(lengths, conv):
    torch.manual_seed(1)
    cif = CifKeywordExtractor(6, conv_width=conv[0], conv_layers=conv[1]).eval()
    features = torch.randn(len(lengths), max(lengths) + 4, 6) * 3
    batch = segments(cif, features, torch.tensor(lengths)).cut(30)
    for row, length in enumerate(lengths):
        alone = segments(cif, features[row : row + 1, :length], torch.tensor([length]))
        count = int(alone.lengths)
        alone = alone.cut(count)
        assert batch.lengths[row] == count
        alphas = batch.cif.alphas[row, :length]
        torch.testing.assert_close(alphas, alone.cif.alphas[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(
            batch.embeddings[row, :count], alone.embeddings[0], rtol=1e-5, atol=1e-5
        )
        assert torch.equal(batch.cif.starts[row, :count], alone.cif.starts[0])


def test_scaling_reaches_the_target_until_it_is_switched_off():
    torch.manual_seed(0)
    cif = CifKeywordExtractor(4, scaling_steps=10, initial_bias=-3.0)
    features, lengths, target = torch.randn(2, 50, 4), torch.tensor([50, 30]), torch.tensor([7, 4])
    scaled = segments(cif, features, lengths, target_lengths=target, step=9)
    assert scaled.lengths.tolist() == [7, 4]
    unscaled = segments(cif, features, lengths, target_lengths=target, step=10)
    assert unscaled.lengths.tolist() == unscaled.cif.alpha_sum.floor().clamp(min=1).tolist()


@pytest.mark.parametrize("wanted", [1, 20, 40, 70, 140])
def test_scaling_reaches_every_target_in_spite_of_rounding(wanted):
    torch.manual_seed(0)
    cif = CifKeywordExtractor(4, scaling_steps=-1, initial_bias=-3.0, max_keywords=150)
    rows, frames = 200, 10 * wanted
    features, lengths = torch.randn(rows, frames, 4), torch.full((rows,), frames)
    found = segments(cif, features, lengths, target_lengths=torch.full((rows,), wanted)).lengths
    assert found.tolist() == [wanted] * rows


def test_nothing_is_no_tail():
    with pytest.raises(ValueError, match="tail_threshold must be positive or null"):
        fire(torch.ones(1, 2), tail_threshold=0.0)


def test_long_speech_is_cut_and_what_is_dropped_is_counted():
    cif = CifKeywordExtractor(2, max_keywords=3, initial_bias=9.0, tail_threshold=None).eval()
    # a weight of nearly 1 at each frame
    output = segments(cif, torch.zeros(3, 20, 2), torch.tensor([20, 4, 3]))
    assert output.lengths.tolist() == [3, 3, 2] and output.cif.dropped.tolist() == [16, 0, 0]


def test_a_tail_that_would_count_is_dropped_too():
    alphas = torch.tensor([[1.0, 1.0, 0.6], [1.0, 1.0, 0.5], [1.0, 1.0, 0.4], [1.0, 0.6, 0.0]])
    _, found = fire(alphas, tail_threshold=0.5, max_slots=2)
    assert found.lengths.tolist() == [2, 2, 2, 2] and found.dropped.tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("width", [2, 4])
def test_even_widths_are_refused(width):
    with pytest.raises(ValueError, match="odd"):
        CifKeywordExtractor(4, conv_width=width)


def test_targets_and_loss():
    assert duration_targets(torch.tensor([10, 30, 50, 61]), 20).tolist() == [0, 2, 2, 3]
    assert math.isclose(float(quantity_loss(torch.tensor([2.5, 4.0]), torch.tensor([3, 2]))), 1.25)
