"""Criss-cross attention.

Source: Huang, Wang, Huang, Huang, Wei, Liu, "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019
(https://arxiv.org/abs/1811.11721), section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segzoo.layers.scale import Scale

__all__ = ["CrissCrossAttention", "criss_cross_attention"]


def criss_cross_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """For each position, the mean of ``value`` over its column and row, weighted by softmax(query . key).

    A position is in both its column and its row, and counts once. The weights take N x H x W x (H + W) numbers.

    Shapes: query and key (N, C, H, W), value (N, D, H, W) -> (N, D, H, W).
    """
    height, width = query.shape[2:]
    along_column = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)
    itself = torch.eye(height, dtype=torch.bool, device=query.device)
    along_column = along_column.masked_fill(itself, float("-inf")).transpose(1, 2)
    along_row = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)
    weights = torch.cat([along_column, along_row], dim=3).softmax(dim=3)
    by_column, by_row = weights.split([height, width], dim=3)
    from_column = by_column.transpose(1, 2) @ value.permute(0, 3, 2, 1)
    from_row = by_row @ value.permute(0, 2, 3, 1)
    return from_column.permute(0, 3, 2, 1) + from_row.permute(0, 3, 1, 2)


class CrissCrossAttention(nn.Module):
    """Adds what each position gathers from its column and row, by a learned factor that starts at zero.

    Shapes: (N, channels, H, W) -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_conv = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.key_conv = nn.Conv2d(channels, channels // 8, kernel_size=1)
        self.value_conv = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma(criss_cross_attention(self.query_conv(x), self.key_conv(x), self.value_conv(x)))
