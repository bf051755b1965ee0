"""Depthwise convolutions of wide dilations, tap by tap.

The library's kernel for them has no fast path from a dilation of 8 on: on 2048 channels of 64 x 128 it takes 0.1 to 0.3
seconds, and 2.2 with channels last and a dilation of 36. A tap is a product of the shifted map with one number per
channel, and taps that reach outside the map are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segzoo.layers.lazy import both, keeps_size

__all__ = ["convolve", "pays"]

_WIDE = 8


def pays(input: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    """Whether this convolution of ``input`` (N, C, H, W) is faster so."""
    is_depthwise = groups == weight.shape[0] == input.shape[1]
    is_wide = both(stride) == (1, 1) and min(both(dilation)) >= _WIDE
    return is_depthwise and is_wide and keeps_size(weight.shape[2:], padding, dilation)


def convolve(input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any, dilation: Any) -> Tensor:
    """What ``torch.conv2d`` gives, in the layout of ``input``."""
    height, width = input.shape[2:]
    down, across = (
        [(d * i - p, tap) for tap, i in enumerate(range(k))]
        for d, p, k in zip(both(dilation), both(padding), weight.shape[2:], strict=True)
    )
    # The tap in the middle covers the whole map, so that it comes first and gives every position its value.
    taps = sorted(((y, x) for y in down for x in across), key=lambda tap: (tap[0][0], tap[1][0]) != (0, 0))
    out = torch.empty_like(input)
    for (dy, row), (dx, col) in taps:
        factor = weight[:, 0, row, col].view(1, -1, 1, 1)
        if dy == dx == 0:
            if bias is None:
                torch.mul(input, factor, out=out)
            else:
                torch.addcmul(bias.view(1, -1, 1, 1), input, factor, out=out)
            continue
        top, bottom, left, right = max(0, -dy), min(height, height - dy), max(0, -dx), min(width, width - dx)
        if top < bottom and left < right:
            shifted = input[:, :, top + dy : bottom + dy, left + dx : right + dx]
            out[:, :, top:bottom, left:right].addcmul_(shifted, factor)
    return out
