from __future__ import annotations

import torch
from torch.nn import functional as F

from segzoo.layers.norm import LayerNorm2d


def test_by_hand() -> None:
    layer = LayerNorm2d(2, eps=0.0)
    x = torch.tensor([[[[1.0, 2.0]], [[3.0, -2.0]]]])
    torch.testing.assert_close(layer(x), torch.tensor([[[[-1.0, 1.0]], [[1.0, -1.0]]]]))


def test_equals_a_group_norm_of_each_position() -> None:
    torch.manual_seed(0)
    layer = LayerNorm2d(6, eps=1e-6)
    torch.nn.init.uniform_(layer.weight)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 6, 3, 5)
    positions = x.permute(0, 2, 3, 1).reshape(-1, 6)
    expected = F.group_norm(positions, 1, layer.weight, layer.bias, eps=1e-6).view(2, 3, 5, 6).permute(0, 3, 1, 2)
    torch.testing.assert_close(layer(x), expected)
