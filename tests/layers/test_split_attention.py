from __future__ import annotations

import torch
from torch import nn

from segzoo.layers.split_attention import SplitAttention


@torch.no_grad()
def test_equals_two_convolutions_weighed_by_hand() -> None:
    torch.manual_seed(0)
    module = SplitAttention(4, 6, dilation=2).double().eval()
    for norm in (module.bn0, module.bn1):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 4, 7, 9).double()
    splits = []
    for i in range(2):
        weight = module.conv.weight[6 * i : 6 * i + 6]
        split = nn.functional.conv2d(x[:, 2 * i : 2 * i + 2], weight, padding=2, dilation=2)
        part = slice(6 * i, 6 * i + 6)
        scale = (module.bn0.weight / (module.bn0.running_var + module.bn0.eps).sqrt())[part, None, None]
        shift = module.bn0.bias[part, None, None] - module.bn0.running_mean[part, None, None] * scale
        splits.append((split * scale + shift).clamp(min=0))
    mean = (splits[0] + splits[1]).mean((2, 3))
    hidden = module.bn1(module.fc1(mean[:, :, None, None])).clamp(min=0)
    scores = module.fc2(hidden)
    first = torch.sigmoid(scores[:, :6] - scores[:, 6:])  # a softmax over two
    expected = first * splits[0] + (1 - first) * splits[1]
    torch.testing.assert_close(module(x), expected)


def test_the_hidden_layer_is_at_least_32_wide() -> None:
    assert SplitAttention(16, 16).fc1.out_channels == 32
    assert SplitAttention(256, 256).fc1.out_channels == 128
    assert SplitAttention(256, 256, reduction_factor=2).fc1.out_channels == 256
