"""The trained part against PyTorch's own modules."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from espnet_plugin.model.attention import (
    AttentionBlock,
    EncoderLayer,
    FeedForward,
    TransformerBlock,
    local_attention,
    self_attention,
)

MASK = torch.tensor([[False] * 5, [False, False, False, True, True]])


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("num_heads", [1, 4])
@pytest.mark.parametrize("mask", [None, MASK])
def test_self_attention_is_what_the_module_attends(num_heads, mask, frozen):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, num_heads, batch_first=True).eval().requires_grad_(not frozen)
    x = torch.randn(2, 5, 8)
    expected, _ = module(x, x, x, key_padding_mask=mask)
    torch.testing.assert_close(self_attention(module, x, mask), expected)


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    reach=st.integers(1, 10),
    num_queries=st.integers(0, 2),
    masked=st.booleans(),
)
def test_local_attention_is_attention_with_a_band(lengths, reach, num_queries, masked):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    positions = num_queries + max(lengths)
    x = torch.randn(len(lengths), positions, 8)
    ends = torch.tensor(lengths if masked else [max(lengths)] * len(lengths)) + num_queries
    mask = torch.arange(positions) >= ends[:, None]
    hidden = torch.ones(positions, positions, dtype=torch.bool)
    for one in range(positions):
        for other in range(positions):
            if one < num_queries or (other >= num_queries and abs(one - other) <= reach):
                hidden[one, other] = False
    found = local_attention(
        module, x, mask if masked else None, reach=reach, num_queries=num_queries
    )
    assert found.isfinite().all()
    for row, end in enumerate(ends.tolist()):
        one = x[row : row + 1, :end]
        expected, _ = module(one, one, one, attn_mask=hidden[:end, :end])
        torch.testing.assert_close(found[row : row + 1, :end], expected)


def test_a_block_with_reach_changes_the_frames_nearby_and_the_queries():
    torch.manual_seed(0)
    block = AttentionBlock(8, reach=2).eval()
    x = torch.randn(1, 10, 8)
    other = x.clone()
    other[:, 5] += 1
    outputs = (block(each, num_queries=1).output for each in (x, other))
    changed = torch.ne(*outputs).any(-1)[0]
    assert changed.tolist() == [True, False, False, True, True, True, True, True, False, False]


def test_reach_is_positive():
    with pytest.raises(ValueError, match="attention_conf.reach must be at least 1 frame, got 0"):
        AttentionBlock(8, reach=0)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_encoder_layer_is_pytorchs(norm_first, mask):
    torch.manual_seed(0)
    options = {"batch_first": True, "norm_first": norm_first, "activation": "gelu"}
    theirs = nn.TransformerEncoderLayer(8, 2, 16, 0.1, **options).eval()
    ours = EncoderLayer(8, 2, 16, 0.1, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(ours(x, mask), theirs(x, src_key_padding_mask=mask))


def test_transformer_block_takes_activation_and_eps():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, "relu", 0.1, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False)
    ours = TransformerBlock(
        8, num_layers=2, num_heads=2, feed_forward_dim=16, activation="relu", layer_norm_eps=0.1
    )
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 8)
    expected = theirs.eval()(x, src_key_padding_mask=MASK)
    torch.testing.assert_close(ours.eval()(x, MASK).output, expected)


def test_attention_block_takes_eps():
    torch.manual_seed(0)
    block = AttentionBlock(8, num_heads=2, layer_norm_eps=0.1).eval()
    x = torch.randn(2, 5, 8)
    mixed = x + block.attention(x, x, x, key_padding_mask=MASK)[0]
    centred = mixed - mixed.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 0.1).sqrt()
    torch.testing.assert_close(block(x, MASK).output, expected)


def test_unknown_activations_are_refused():
    with pytest.raises(ValueError, match="activation must be one of gelu, relu; got 'swish'"):
        TransformerBlock(8, num_heads=2, activation="swish")


@pytest.mark.parametrize("norm_first", [False, True])
def test_encoder_layer_has_pytorchs_gradients(norm_first):
    torch.manual_seed(0)
    options = {"batch_first": True, "norm_first": norm_first}
    theirs = nn.TransformerEncoderLayer(8, 2, 16, 0.0, **options)
    ours = EncoderLayer(8, 2, 16, 0.0, **options)
    ours.load_state_dict(theirs.state_dict())
    x, weights = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    for layer, output in ((ours, ours(x, MASK)), (theirs, theirs(x, src_key_padding_mask=MASK))):
        (output * weights).sum().backward()
        assert all(parameter.grad is not None for parameter in layer.parameters())
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, msg=name)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    module = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    x = torch.randn(1, 5, 8)
    assert not torch.equal(self_attention(module, x), self_attention(module, x))
    module.eval()
    torch.testing.assert_close(self_attention(module, x), self_attention(module, x))


@pytest.mark.parametrize(
    "block",
    [
        AttentionBlock(8, num_heads=2),
        AttentionBlock(8, num_heads=2, feed_forward_dim=4, feed_forward_width=3),
        TransformerBlock(8, num_heads=2),
    ],
)
def test_padded_positions_change_nothing(block):
    block.eval()
    x = torch.randn(2, 5, 8)
    other = x.clone()
    other[1, 3:] = torch.randn(2, 8)
    outputs = [block(each, MASK).output[:, :3] for each in (x, other)]
    torch.testing.assert_close(*outputs)


def test_feed_forward_sees_its_neighbours():
    network = FeedForward(2, 4, 0.0, 1e-5, width=3)
    x = torch.randn(1, 5, 2)
    weight, bias = network.neighbours.weight[:, 0, :, 0], network.neighbours.bias
    around = nn.functional.pad(x[0], (0, 0, 1, 1))
    local = torch.stack([(around[t : t + 3] * weight.T).sum(dim=0) + bias for t in range(5)])
    expected = network.norm(x[0] + network.layers(x[0] + local))
    torch.testing.assert_close(network(x)[0], expected)
    with pytest.raises(ValueError, match="must be odd"):
        FeedForward(2, 4, 0.0, 1e-5, width=2)
