"""Attention between the channels of a feature map.

Source: Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019
(https://arxiv.org/abs/1809.02983), section 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from segzoo.layers.scale import Scale

__all__ = ["ChannelAttention"]


class ChannelAttention(nn.Module):
    """Adds to each channel the mean of all, weighted by how unlike it they are, by a learned factor from zero.

    Shapes: (N, C, H, W) -> the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        # The products sum over every position: in half precision they would overflow.
        with torch.autocast(x.device.type, enabled=False):
            channels = x.flatten(2).float()
            weights = (-(channels @ channels.transpose(1, 2))).softmax(dim=2)
            gathered = (weights @ channels).view_as(x)
        return x + self.gamma(gathered.to(x.dtype))
