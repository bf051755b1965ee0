"""PSANet: each position has learned masks over its surroundings, to collect by and to distribute by.

Paper: Zhao, Zhang, Liu, Shi, Loy, Lin, Jia, "PSANet: Point-wise Spatial Attention Network for Scene Parsing", ECCV
2018 (https://hszhao.github.io/papers/eccv18_psanet.pdf), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.point_wise_attention import collect, distribute
from segzoo.layers.resize import resize

__all__ = ["PSAHead"]


class PSAHead(DecodeHead):
    """Collects and distributes at half the resolution of the features, with masks of ``mask_size`` positions."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        mask_size: tuple[int, int],
        in_index: int = -1,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
        )
        (width,) = self.in_channels
        self.mask_size = (mask_size[0], mask_size[1])
        places = mask_size[0] * mask_size[1]
        self.reduce = ConvNormAct(width, channels)
        self.attention = nn.Sequential(ConvNormAct(channels, channels), nn.Conv2d(channels, places, 1, bias=False))
        self.reduce_p = ConvNormAct(width, channels)
        self.attention_p = nn.Sequential(ConvNormAct(channels, channels), nn.Conv2d(channels, places, 1, bias=False))
        # The published networks pad this 1 x 1 convolution: a constant frame, squeezed in by the resize after it.
        self.proj = ConvNormAct(2 * channels, width, padding=1)
        self.bottleneck = ConvNormAct(2 * width, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.merge(features)
        height, width = x.shape[2:]
        # Corners are aligned where both sides are odd, whatever the flag of the head.
        aligned = height % 2 == 1 and width % 2 == 1
        half = ((height + 1) // 2, (width + 1) // 2) if aligned else (max(height // 2, 1), max(width // 2, 1))
        collected = resize(self.reduce(x), half, align_corners=aligned)
        collected = collect(collected, self.attention(collected), self.mask_size)
        distributed = resize(self.reduce_p(x), half, align_corners=aligned)
        distributed = distribute(distributed, self.attention_p(distributed), self.mask_size)
        context = self.proj(torch.cat([collected, distributed], dim=1))
        context = resize(context, (height, width), align_corners=aligned)
        return self.classify(self.bottleneck(torch.cat([x, context], dim=1)))
