"""UPerNet: pyramid pooling on the deepest feature, then a feature pyramid over all of them.

Paper: Xiao, Liu, Zhou, Jiang, Sun, "Unified Perceptual Parsing for Scene Understanding", ECCV 2018
(https://arxiv.org/abs/1807.10221), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.pyramid_pooling import PyramidPooling
from segzoo.layers.resize import concat_resized, resize

__all__ = ["UPerHead"]


class UPerHead(DecodeHead):
    """Brings every feature to ``channels``, adds each to the finer one, and joins all at the finest size."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
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
        *finer, deepest = self.in_channels
        self.psp_modules = PyramidPooling(pool_scales, deepest, channels, align_corners=align_corners)
        self.bottleneck = ConvNormAct(deepest + len(pool_scales) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvNormAct(width, channels) for width in finer)
        self.fpn_convs = nn.ModuleList(ConvNormAct(channels, channels, 3) for _ in finer)
        self.fpn_bottleneck = ConvNormAct(len(self.in_channels) * channels, channels, 3)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """What the classifier sees: the joined pyramid (N, channels, H, W) at the size of the head's first feature."""
        *finer, deepest = self.select(features)
        x = self.bottleneck(torch.cat([deepest, *self.psp_modules(deepest)], dim=1))
        levels = [x]
        for feature, lateral, smooth in zip(
            reversed(finer), reversed(self.lateral_convs), reversed(self.fpn_convs), strict=True
        ):
            x = lateral(feature) + resize(x, feature.shape[2:], align_corners=self.align_corners)
            levels.insert(0, smooth(x))
        return self.fpn_bottleneck(concat_resized(levels, align_corners=self.align_corners))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.embed(features))
