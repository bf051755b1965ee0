from __future__ import annotations

import torch
from torch import nn

from segzoo.necks.fpn import FPN


def test_each_level_is_its_own_and_the_enlarged_deeper_one() -> None:
    neck = FPN((1, 1, 1), (4, 8, 16), out_channels=1)
    for conv in [*neck.lateral_convs, *neck.fpn_convs]:
        nn.init.zeros_(conv.conv.bias)
        nn.init.zeros_(conv.conv.weight)
        side = conv.conv.kernel_size[0] // 2
        nn.init.ones_(conv.conv.weight[:, :, side, side])
    deep = torch.tensor([[1000.0]]).reshape(1, 1, 1, 1)
    middle = torch.tensor([[100.0, 200.0, 300.0]]).reshape(1, 1, 1, 3)
    fine = torch.arange(1.0, 11.0).reshape(1, 1, 2, 5)
    levels = neck([fine, middle, deep])
    assert levels[2].tolist() == [[[[1000.0]]]]
    assert levels[1].tolist() == [[[[1100.0, 1200.0, 1300.0]]]]
    # Five columns from three, nearest: 0, 0, 1, 1, 2.
    above = torch.tensor([1100.0, 1100.0, 1200.0, 1200.0, 1300.0])
    assert torch.equal(levels[0], fine + above)


def test_says_what_it_gives() -> None:
    neck = FPN((8, 16, 32), (4, 8, 16), out_channels=24)
    assert neck.channels == (24, 24, 24)
    assert neck.strides == (4, 8, 16)
    sizes = ((9, 11), (5, 6), (3, 3))
    levels = neck([torch.zeros(2, c, *size) for c, size in zip((8, 16, 32), sizes, strict=True)])
    assert [tuple(x.shape) for x in levels] == [(2, 24, *size) for size in sizes]
