"""APCNet: adaptive context of several scales beside the features.

Paper: He, Deng, Zhou, Wang, Qiao, "Adaptive Pyramid Context Network for Semantic Segmentation", CVPR 2019
(https://openaccess.thecvf.com/content_CVPR_2019/html/
He_Adaptive_Pyramid_Context_Network_for_Semantic_Segmentation_CVPR_2019_paper.html), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.adaptive_context import AdaptiveContext
from segzoo.layers.conv import ConvNormAct

__all__ = ["APCHead"]


class APCHead(DecodeHead):
    """An adaptive context module per pool scale, joined to the features and mixed by a 3 x 3 convolution."""

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
        self.acm_modules = nn.ModuleList(AdaptiveContext(scale, width, channels) for scale in pool_scales)
        self.bottleneck = ConvNormAct(width + len(pool_scales) * channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.merge(features)
        contexts = [module(x) for module in self.acm_modules]
        return self.classify(self.bottleneck(torch.cat([x, *contexts], dim=1)))
