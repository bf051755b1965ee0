"""Attention within windows of a map, in its two published forms; both pad the map to whole windows.

Papers: Liu et al., "Swin Transformer", ICCV 2021 (https://arxiv.org/abs/2103.14030), section 3.2 (shifted windows);
Chu et al., "Twins: Revisiting the Design of Spatial Attention in Vision Transformers", NeurIPS 2021
(https://arxiv.org/abs/2104.13840), section 3.2 (locally grouped).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.attention import QKVAttention, RelativePositionAttention
from segzoo.layers.symbolic import crop, known

__all__ = ["LocallyGroupedAttention", "ShiftedWindowAttention", "join_windows", "split_windows"]


def split_windows(x: Tensor, size: int) -> Tensor:
    """Windows (N * windows, size * size, C) of a map (N, H, W, C), row by row; H and W are multiples of ``size``."""
    n, height, width, channels = x.shape
    x = x.view(n, height // size, size, width // size, size, channels)
    return x.transpose(2, 3).reshape(-1, size * size, channels)


def join_windows(windows: Tensor, size: int, height: int, width: int, *, count: int = -1) -> Tensor:
    """The map (N, height, width, C) that :func:`split_windows` made ``windows`` of; ``count`` is N, if it is known."""
    x = windows.view(count, height // size, width // size, size, size, windows.shape[-1])
    return x.transpose(2, 3).reshape(count, height, width, windows.shape[-1])


def _windowed(
    x: Tensor, size: int, mask: Tensor | None, attention: Callable[[Tensor, Tensor | None], Tensor]
) -> Tensor:
    """Attention within the windows of a map (N, H, W, C); ``mask`` (windows, L, L) is the same for each sample."""
    if mask is not None:
        mask = mask.expand(x.shape[0], *mask.shape).flatten(0, 1).unsqueeze(1)
    windows = attention(split_windows(x, size), mask)
    return join_windows(windows, size, x.shape[1], x.shape[2], count=x.shape[0])


def _apart(labels: Tensor, size: int, penalty: float, dtype: torch.dtype) -> Tensor:
    """What is added to the scores (windows, L, L) so that positions of different ``labels`` (H, W) do not meet."""
    labels = split_windows(labels[None, :, :, None], size).squeeze(2)
    differs = labels[:, :, None] != labels[:, None, :]
    return differs.to(dtype) * penalty


def _pad(x: Tensor, size: int) -> Tensor:
    below, right = (-(-n // size) * size - n for n in x.shape[1:3])
    return x if known(below == 0) and known(right == 0) else F.pad(x, (0, 0, 0, right, 0, below))


class ShiftedWindowAttention(nn.Module):
    """Attention with relative positions within windows, which are shifted by half a window in every other block.

    The shift wraps around; what was not side by side before does not meet in a window.

    Shapes: (N, H, W, dim) -> the same.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int, *, shifted: bool) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift = window_size // 2 if shifted else 0
        self.w_msa = RelativePositionAttention(dim, num_heads, (window_size, window_size))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = _pad(x, self.window_size)
        mask = None
        if self.shift:
            mask = self.mask(x)
            x = x.roll((-self.shift, -self.shift), dims=(1, 2))
        x = _windowed(x, self.window_size, mask, self.w_msa)
        if self.shift:
            x = x.roll((self.shift, self.shift), dims=(1, 2))
        return crop(crop(x, 1, 0, height), 2, 0, width)

    def mask(self, x: Tensor) -> Tensor:
        """Keeps apart what a shift of the map (N, H, W, dim) brings into one window: (windows, L, L)."""

        def band(length: int) -> Tensor:
            place = torch.arange(length, device=x.device)
            return (place >= length - self.window_size).long() + (place >= length - self.shift).long()

        labels = 3 * band(x.shape[1])[:, None] + band(x.shape[2])[None, :]
        return _apart(labels, self.window_size, -100.0, x.dtype)


class LocallyGroupedAttention(QKVAttention):
    """Attention within windows that stay where they are.

    Shapes: (N, H, W, dim) -> the same.
    """

    def __init__(self, dim: int, num_heads: int, window_size: int) -> None:
        super().__init__(dim, num_heads)
        self.window_size = window_size

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        x = _pad(x, self.window_size)
        # The published networks keep the padding apart only where both sides were padded, and the published
        # figures were made so.
        mask = None
        if not (known(x.shape[1] == height) or known(x.shape[2] == width)):
            below = torch.arange(x.shape[1], device=x.device) >= height
            right = torch.arange(x.shape[2], device=x.device) >= width
            padding = (below[:, None] | right) & below.any() & right.any()
            mask = _apart(padding.to(x.dtype), self.window_size, -1000.0, x.dtype)
        x = _windowed(x, self.window_size, mask, self.attention)
        return crop(crop(x, 1, 0, height), 2, 0, width)
