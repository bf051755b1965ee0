from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from segzoo.layers.point_wise_attention import collect, distribute
from tests.layers.recorder import largest_tensor

Operator = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]


def test_collect_by_hand() -> None:
    # A row of two positions, masks of three: places are left, itself, right.
    x = torch.tensor([1.0, 5.0]).reshape(1, 1, 1, 2)
    mask = torch.tensor([[9.0, 3.0], [1.0, 1.0], [3.0, 9.0]]).log().reshape(1, 3, 1, 2)
    # The left position weighs itself 1 and its right 3; the right one weighs its left 3 and itself 1.
    expected = torch.tensor([(1 * 1 + 3 * 5) / 4, (3 * 1 + 1 * 5) / 4]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(collect(x, mask, (1, 3)), expected)


def test_distribute_by_hand() -> None:
    x = torch.tensor([1.0, 5.0]).reshape(1, 1, 1, 2)
    mask = torch.tensor([[9.0, 4.0], [1.0, 3.0], [2.0, 9.0]]).log().reshape(1, 3, 1, 2)
    # The left position gets weight 1 of itself and 4 of the right one's left; the right one gets 2 and 3.
    expected = torch.tensor([(1 * 1 + 4 * 5) / 5, (2 * 1 + 3 * 5) / 5]).reshape(1, 1, 1, 2)
    torch.testing.assert_close(distribute(x, mask, (1, 3)), expected)


def test_what_a_mask_does_not_reach_scores_zero() -> None:
    # Masks of one place see only the position itself; the two others weigh exp(0) each.
    x = torch.tensor([1.0, 5.0, 9.0]).reshape(1, 1, 3, 1)
    mask = torch.tensor([2.0, 1.0, 4.0]).log().reshape(1, 1, 3, 1)
    collected = torch.tensor([(2 * 1 + 5 + 9) / 4, (1 + 5 + 9) / 3, (1 + 5 + 4 * 9) / 6]).reshape(1, 1, 3, 1)
    torch.testing.assert_close(collect(x, mask, (1, 1)), collected)
    torch.testing.assert_close(distribute(x, mask, (1, 1)), collected)


def test_an_even_mask_reaches_one_further_down_and_right() -> None:
    x = torch.tensor([1.0, 5.0, 9.0]).reshape(1, 1, 1, 3)
    mask = torch.tensor([[1.0, 1.0, 1.0], [3.0, 3.0, 3.0]]).log().reshape(1, 2, 1, 3)
    expected = torch.tensor([(1 + 3 * 5 + 9) / 5, (1 + 5 + 3 * 9) / 5, (1 + 5 + 9) / 3]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(collect(x, mask, (1, 2)), expected)


def whole_map(mask: Tensor, mask_size: tuple[int, int], distributing: bool) -> Tensor:
    """The scores of all pairs, (N, source, destination), filled place by place."""
    count, _, height, width = mask.shape
    scores = mask.new_zeros(count, height, width, height, width)
    for y in range(height):
        for x in range(width):
            for place in range(mask_size[0] * mask_size[1]):
                to_y = y + place // mask_size[1] - (mask_size[0] - 1) // 2
                to_x = x + place % mask_size[1] - (mask_size[1] - 1) // 2
                if 0 <= to_y < height and 0 <= to_x < width:
                    pair = (y, x, to_y, to_x) if distributing else (to_y, to_x, y, x)
                    scores[(slice(None), *pair)] = mask[:, place, y, x]
    return scores.flatten(3, 4).flatten(1, 2)


@pytest.mark.parametrize("operator", [collect, distribute])
@pytest.mark.parametrize("size", [(4, 5), (5, 3), (1, 4), (1, 1)])
@pytest.mark.parametrize("mask_size", [(9, 9), (3, 5), (4, 2), (12, 3)])
def test_equals_the_softmax_of_the_whole_map(
    operator: Operator, size: tuple[int, int], mask_size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, *size).double()
    mask = torch.randn(2, mask_size[0] * mask_size[1], *size).double()
    weights = whole_map(mask, mask_size, operator is distribute).softmax(dim=1)
    expected = (x.flatten(2) @ weights).view_as(x)
    torch.testing.assert_close(operator(x, mask, mask_size), expected)


@pytest.mark.parametrize("operator", [collect, distribute])
@pytest.mark.parametrize("mask_size", [(3, 5), (2, 2)])
def test_gradients(operator: Operator, mask_size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 2, 3).double().requires_grad_()
    mask = torch.randn(2, mask_size[0] * mask_size[1], 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, mask: operator(x, mask, mask_size), (x, mask))


@pytest.mark.parametrize("operator", [collect, distribute])
@torch.inference_mode()
def test_the_attention_map_is_never_whole(operator: Operator) -> None:
    x, mask = torch.randn(2, 4, 12, 16), torch.randn(2, 23 * 31, 12, 16)
    # A row of it at a time, gathered from masks of less than twice the width.
    assert largest_tensor(operator, x, mask, (23, 31)) <= 2 * 2 * (12 * 16) ** 2 // 12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("operator", [collect, distribute])
def test_the_gpu_agrees_with_the_cpu(operator: Operator) -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 3, 6, 7).double(), torch.randn(2, 35, 6, 7).double()
    found = operator(x.cuda(), mask.cuda(), (5, 7)).cpu()
    torch.testing.assert_close(found, operator(x, mask, (5, 7)))
