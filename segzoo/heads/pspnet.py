"""PSPNet: pyramid pooling beside the features.

Paper: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", CVPR 2017 (https://arxiv.org/abs/1612.01105),
section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.pyramid_pooling import PyramidPooling

__all__ = ["PSPHead"]


class PSPHead(DecodeHead):
    """Averages over ``pool_scales`` bins a side, joined to the features and mixed by a 3 x 3 convolution."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
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
        self.psp_modules = PyramidPooling(pool_scales, width, channels, align_corners=align_corners)
        self.bottleneck = ConvNormAct(width + len(pool_scales) * channels, channels, 3)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """What the classifier sees (N, channels, H, W)."""
        x = self.merge(features)
        return self.bottleneck(torch.cat([x, *self.psp_modules(x)], dim=1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.embed(features))
