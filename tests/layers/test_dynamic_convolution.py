from __future__ import annotations

import pytest
import torch

from segzoo.layers.dynamic_convolution import DynamicConvolution, depthwise_filter


def test_filters_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 1, 2, 2)
    kernel = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]).reshape(1, 1, 3, 3)
    # The position above once, the one to the right twice; zeros outside.
    expected = torch.tensor([[4.0, 0.0], [9.0, 2.0]]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(depthwise_filter(x, kernel), expected)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_filters_equal_shifted_sums(size: int) -> None:
    torch.manual_seed(0)
    x, kernels = torch.randn(2, 3, 4, 5).double(), torch.randn(2, 3, size, size).double()
    half = size // 2
    padded = torch.nn.functional.pad(x, (half,) * 4)
    expected = torch.zeros_like(x)
    for i in range(size):
        for j in range(size):
            expected += kernels[:, :, i, j, None, None] * padded[:, :, i : i + 4, j : j + 5]
    torch.testing.assert_close(depthwise_filter(x, kernels), expected)


@torch.no_grad()
def test_filters_come_from_the_averages_of_the_picture() -> None:
    torch.manual_seed(0)
    module = DynamicConvolution(3, in_channels=4, channels=2).eval()
    x = torch.randn(2, 4, 6, 9)
    bins = torch.stack([x[:, :, :, 3 * j : 3 * j + 3].mean(3) for j in range(3)], dim=3)
    bins = torch.stack([bins[:, :, 2 * i : 2 * i + 2].mean(2) for i in range(3)], dim=2)
    kernels = module.filter_gen_conv(bins)
    expected = torch.relu(module.norm(depthwise_filter(module.input_redu_conv(x), kernels)))
    torch.testing.assert_close(module(x), expected)
