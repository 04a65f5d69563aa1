from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from espnet_plugin.teachers.quantized_states import (
    dequantize_states,
    quantize_states,
    state_dimensions,
)


def round_trip(frames: torch.Tensor, dimensions: torch.Tensor) -> torch.Tensor:
    quantized = quantize_states(frames, dimensions)
    lengths = torch.tensor([len(frames)])
    states = dequantize_states(
        quantized.codes[None], quantized.scale[None], dimensions[None], lengths
    )
    return states[0].transpose(0, 1)  # (frames, layers + 1, dim)


def test_by_hand() -> None:
    dimensions = torch.tensor([[[1.0, -2.0]], [[1.0, 10.0]]])  # mean and deviation, one layer
    frames = torch.tensor([[[1.0 + 127, -2.0]], [[1.0, -2.0 - 10 * 63.5]]])
    quantized = quantize_states(frames, dimensions)
    assert quantized.codes.tolist() == [[[127, 0]], [[0, -127]]]
    torch.testing.assert_close(
        quantized.scale.float(), torch.tensor([[1.0], [0.5]]), rtol=2e-3, atol=0
    )
    torch.testing.assert_close(round_trip(frames, dimensions), frames, rtol=2e-3, atol=1e-3)


def test_mean_and_deviation_of_each_dimension() -> None:
    frames = torch.tensor([[[1.0, 5.0, 0.0]], [[3.0, 5.0, 4.0]]])  # deviations 1, 0, 2
    mean, deviation = state_dimensions(frames)
    assert mean.tolist() == [[2.0, 5.0, 2.0]]
    torch.testing.assert_close(deviation, torch.tensor([[1.0, 0.1, 2.0]]))  # a tenth of the median
    assert state_dimensions(frames[:1])[1].tolist() == [[1.0, 1.0, 1.0]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.floats(-3, 3), st.floats(0, 4))
def test_no_dimension_costs_the_others_their_resolution(seed, frames, shift, decades) -> None:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(frames, 3, 64, generator=generator)
    states[:, 1, 7] = states[:, 1, 7] * 10**decades + shift * 10**decades  # an outlier of one layer
    dimensions = state_dimensions(torch.randn(200, 3, 64, generator=generator) * states.std())
    for known in (dimensions, state_dimensions(states)):
        error = (round_trip(states, known) - states).abs()
        mean, deviation = known
        largest = ((states - mean) / deviation).abs().amax(dim=-1, keepdim=True)
        # half a step of 127, in units of the dimension's own deviation
        assert (error <= 0.51 * largest / 127 * deviation + 1e-5 * states.abs()).all()


def test_padding_is_zero_whatever_it_holds() -> None:
    frames = torch.randn(5, 2, 4)
    dimensions = state_dimensions(frames)
    quantized = quantize_states(frames, dimensions)
    codes, scale = quantized.codes.repeat(2, 1, 1, 1), quantized.scale.repeat(2, 1, 1)
    codes[1, 3:] = -1
    lengths = torch.tensor([5, 3])
    states = dequantize_states(codes, scale, dimensions.repeat(2, 1, 1, 1), lengths)
    assert states.shape == (2, 2, 5, 4)
    assert (states[1, :, 3:] == 0).all()
    assert torch.equal(states[0, :, :3], states[1, :, :3])
    # cut at inference: fewer frames than scales
    cut = dequantize_states(
        codes[:, :3], scale, dimensions.repeat(2, 1, 1, 1), lengths.clamp(max=3)
    )
    assert torch.equal(cut, states[:, :, :3])


def test_what_is_not_finite_shows_in_the_scale() -> None:
    frames = torch.zeros(3, 2, 4)
    frames[0, 1, 2], frames[1, 0, 0] = torch.nan, torch.inf
    scale = quantize_states(frames, torch.stack([torch.zeros(2, 4), torch.ones(2, 4)])).scale
    assert scale.isfinite().tolist() == [[True, False], [False, True], [True, True]]
