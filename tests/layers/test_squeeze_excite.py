from __future__ import annotations

import pytest
import torch
from torch import nn

from segzoo.layers.squeeze_excite import LinearSqueezeExcite, SqueezeExcite, make_divisible


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 8), (4, 8), (12, 16), (18, 24), (24, 24), (30, 32), (60, 64), (168, 168), (240, 240)]
)
def test_widths_are_multiples_of_eight_that_lose_no_more_than_a_tenth(value: int, expected: int) -> None:
    # 18 would go to 16, which loses more.
    assert make_divisible(value) == expected


@torch.no_grad()
def test_channels_are_scaled_by_their_means() -> None:
    module = SqueezeExcite(8, reduction=1)
    for conv in (module.conv1.conv, module.conv2.conv):
        nn.init.zeros_(conv.bias)
        conv.weight.copy_(torch.eye(8)[:, :, None, None])
    x = torch.arange(8.0)[None, :, None, None] * torch.tensor([[0.5, 1.5]])
    # Means 0 to 7: m / 6 + 1 / 2, at most 1.
    scale = (torch.arange(8.0) / 6 + 0.5).clamp(max=1)[None, :, None, None]
    torch.testing.assert_close(module(x), x * scale)


@torch.no_grad()
def test_both_forms_differ_in_the_last_function_only() -> None:
    torch.manual_seed(0)
    by_convolution, linear = SqueezeExcite(32, reduction=4), LinearSqueezeExcite(32, reduction=4)
    for conv, layer in ((by_convolution.conv1.conv, linear.fc[0]), (by_convolution.conv2.conv, linear.fc[2])):
        layer.weight.copy_(conv.weight[:, :, 0, 0])
        layer.bias.copy_(conv.bias)
    by_convolution.conv2.activate = nn.Sigmoid()
    x = torch.randn(2, 32, 3, 5)
    torch.testing.assert_close(by_convolution(x), linear(x))
