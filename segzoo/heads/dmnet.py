"""DMNet: filters of several sizes that each picture generates, beside the features.

Paper: He, Deng, Qiao, "Dynamic Multi-Scale Filters for Semantic Segmentation", ICCV 2019
(https://openaccess.thecvf.com/content_ICCV_2019/html/
He_Dynamic_Multi-Scale_Filters_for_Semantic_Segmentation_ICCV_2019_paper.html), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.dynamic_convolution import DynamicConvolution

__all__ = ["DMHead"]


class DMHead(DecodeHead):
    """A dynamic convolution per filter size, joined to the features and mixed by a 3 x 3 convolution."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        filter_sizes: Sequence[int] = (1, 3, 5, 7),
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
        self.dcm_modules = nn.ModuleList(DynamicConvolution(size, width, channels) for size in filter_sizes)
        self.bottleneck = ConvNormAct(width + len(filter_sizes) * channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.merge(features)
        filtered = [module(x) for module in self.dcm_modules]
        return self.classify(self.bottleneck(torch.cat([x, *filtered], dim=1)))
