from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segzoo.layers.criss_cross import CrissCrossAttention, criss_cross_attention
from tests.layers.recorder import largest_tensor


def test_equal_scores_give_the_mean_of_column_and_row() -> None:
    value = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]).reshape(1, 1, 2, 3)
    zeros = torch.zeros(1, 1, 2, 3)
    # Four positions each, the position itself once: (1 + 10 + 2 + 3) / 4 and so on.
    expected = torch.tensor([[16.0, 26.0, 36.0], [61.0, 62.0, 63.0]]).reshape(1, 1, 2, 3) / 4
    torch.testing.assert_close(criss_cross_attention(zeros, zeros, value), expected)


def test_scores_weigh_by_their_exponential() -> None:
    # The position above scores 1 * ln 3, the one beside it ln 2, itself and its row's end 0: weights 3, 2, 1, 1.
    query = torch.ones(1, 1, 2, 3)
    key = torch.tensor([[3.0, 1.0, 1.0], [1.0, 2.0, 1.0]]).log().reshape(1, 1, 2, 3)
    value = torch.tensor([[7.0, 0.0, 0.0], [14.0, 21.0, 28.0]]).reshape(1, 1, 2, 3)
    found = criss_cross_attention(query, key, value)[0, 0, 1, 0]
    assert found.item() == pytest.approx((3 * 7 + 1 * 14 + 2 * 21 + 1 * 28) / 7)


def by_cross(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """All pairs, and those off the cross ruled out: another form than the layer's."""
    height, width = query.shape[2:]
    rows, columns = torch.arange(height * width) // width, torch.arange(height * width) % width
    on_cross = (rows[:, None] == rows) | (columns[:, None] == columns)
    scores = query.flatten(2).transpose(1, 2) @ key.flatten(2)
    weights = scores.masked_fill(~on_cross, float("-inf")).softmax(dim=2)
    return (value.flatten(2) @ weights.transpose(1, 2)).unflatten(2, (height, width))


@pytest.mark.parametrize("size", [(3, 5), (5, 3), (1, 4), (4, 1), (1, 1)])
def test_equals_attention_to_all_that_leaves_out_what_is_off_the_cross(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, channels, *size).double() for channels in (3, 3, 4))
    torch.testing.assert_close(criss_cross_attention(query, key, value), by_cross(query, key, value))


def test_gradients() -> None:
    torch.manual_seed(0)
    inputs = tuple(torch.randn(1, c, 2, 3).double().requires_grad_() for c in (2, 2, 3))
    assert torch.autograd.gradcheck(criss_cross_attention, inputs)


def test_no_tensor_is_larger_than_the_attention_map() -> None:
    query, value = torch.randn(2, 1, 24, 40), torch.randn(2, 4, 24, 40)
    assert largest_tensor(criss_cross_attention, query, query, value) == 2 * 24 * 40 * (24 + 40)


def test_the_layer_starts_as_the_identity_and_scales_by_gamma() -> None:
    torch.manual_seed(0)
    layer, x = CrissCrossAttention(16), torch.randn(2, 16, 3, 4)
    with torch.no_grad():
        assert torch.equal(layer(x), x)
        layer.gamma.scale.fill_(0.5)
        expected = x + 0.5 * by_cross(layer.query_conv(x), layer.key_conv(x), layer.value_conv(x))
        torch.testing.assert_close(layer(x), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, channels, 9, 11).double() for channels in (3, 3, 4))
    found = criss_cross_attention(query.cuda(), key.cuda(), value.cuda())
    torch.testing.assert_close(found.cpu(), criss_cross_attention(query, key, value))
