"""Attention against PyTorch's own, against hand-written loops, and against the published positions' numbering."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from segzoo.layers.attention import (
    MultiheadAttention,
    QKVAttention,
    RelativePositionAttention,
    SelfAttention,
    attend,
    relative_position_index,
)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_attend_on_figures_worked_out_by_hand() -> None:
    # One head of two channels: the scores of the only query are 1 and 0, divided by sqrt(2).
    query = torch.tensor([[[1.0, 0.0]]])
    key = torch.tensor([[[1.0, 7.0], [0.0, -3.0]]])
    value = torch.tensor([[[10.0, 0.0], [0.0, 10.0]]])
    first = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)
    expected = torch.tensor([[[10 * first, 10 * (1 - first)]]])
    assert torch.allclose(attend(query, key, value, 1), expected)


def test_each_head_sees_its_own_channels_and_its_own_bias() -> None:
    q, k, v = torch.randn(3, 2, 5, 6)
    bias = torch.randn(1, 2, 5, 5)
    found = attend(q, k, v, 2, bias)
    for n in range(2):
        for head in range(2):
            part = slice(3 * head, 3 * head + 3)
            scores = q[n, :, part] @ k[n, :, part].T / math.sqrt(3) + bias[0, head]
            assert torch.allclose(found[n, :, part], scores.softmax(dim=1) @ v[n, :, part], atol=1e-6)


def test_multihead_attention_is_pytorchs() -> None:
    ours, theirs = MultiheadAttention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    nn.init.normal_(ours.in_proj_bias)
    theirs.load_state_dict(ours.state_dict())
    query, context = torch.randn(2, 5, 8), torch.randn(2, 3, 8)
    for other in (query, context):
        expected, _ = theirs(query, other, other)
        assert torch.allclose(ours(query, other), expected, atol=1e-6)


def test_self_attention_flattens_a_map() -> None:
    layer = SelfAttention(8, 2)
    x = torch.randn(2, 3, 4, 8)
    assert torch.allclose(layer(x).flatten(1, 2), layer(x.flatten(1, 2)), atol=1e-6)


def test_reduction_attends_to_a_coarser_map() -> None:
    layer = SelfAttention(4, 2, reduction=2)
    x = torch.randn(1, 4, 6, 4)
    coarse = torch.empty(1, 6, 4)
    kernel = layer.sr.weight
    for i in range(2):
        for j in range(3):
            patch = x[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            coarse[0, 3 * i + j] = torch.einsum("hwc,ochw->o", patch, kernel) + layer.sr.bias
    expected = layer.attn(x.flatten(1, 2), layer.norm(coarse)).view(1, 4, 6, 4)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_qkv_attention_is_the_packed_form() -> None:
    layer, packed = QKVAttention(8, 4), MultiheadAttention(8, 4)
    with torch.no_grad():
        packed.in_proj_weight.copy_(layer.qkv.weight)
        packed.in_proj_bias.copy_(layer.qkv.bias)
    packed.out_proj = layer.proj
    x = torch.randn(2, 6, 8)
    assert torch.allclose(layer(x), packed(x, x), atol=1e-6)


def test_relative_positions_of_a_small_grid() -> None:
    # A row of three: 0 is two to the left, 4 two to the right.
    assert relative_position_index(1, 3).tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    # Two rows of two: rows are numbered first, three horizontal distances each.
    assert relative_position_index(2, 2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    # The class token: 3 to the grid, 4 from the grid, 5 to itself, after the three distances of a row of two.
    assert relative_position_index(1, 2, class_token=True).tolist() == [[5, 3, 3], [4, 1, 0], [4, 2, 1]]


def test_relative_positions_of_a_larger_grid() -> None:
    height, width = 3, 4
    index = relative_position_index(height, width)
    for i in range(height * width):
        for j in range(height * width):
            down, right = i // width - j // width, i % width - j % width
            assert index[i, j] == (down + height - 1) * (2 * width - 1) + right + width - 1


def test_the_position_bias_and_a_mask_are_added_to_the_scores() -> None:
    layer = RelativePositionAttention(4, 2, (1, 3))
    x = torch.randn(1, 3, 4)
    mask = torch.zeros(1, 1, 3, 3)
    mask[..., 2] = -1e4
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    table = layer.relative_position_bias_table
    bias = torch.stack([torch.stack([table[i - j + 2] for j in range(3)]) for i in range(3)]).permute(2, 0, 1)
    assert torch.allclose(layer(x), layer.proj(attend(q, k, v, 2, bias[None])), atol=1e-6)
    seen = [part[:, :2] for part in (q[:, :1], k, v)]
    expected = layer.proj(attend(seen[0], seen[1], seen[2], 2, bias[None, :, :1, :2]))
    assert torch.allclose(layer(x, mask)[:, :1], expected, atol=1e-6)


def test_the_index_is_in_the_state_dict_but_is_no_parameter() -> None:
    layer = RelativePositionAttention(4, 2, (2, 2), class_token=True)
    assert layer.state_dict()["relative_position_index"].shape == (5, 5)
    assert layer.relative_position_bias_table.shape == (12, 2)
    assert {name for name, _ in layer.named_parameters()} == {
        "relative_position_bias_table",
        "qkv.weight",
        "qkv.bias",
        "proj.weight",
        "proj.bias",
    }
