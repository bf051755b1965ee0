"""The heads of SETR: naive and progressive upsampling, and multi-level feature aggregation.

Paper: Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers",
CVPR 2021 (https://arxiv.org/abs/2012.15840), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.norm import LayerNorm2d

__all__ = ["SETRMLAHead", "SETRUPHead"]


class SETRUPHead(DecodeHead):
    """A norm, then ``num_convs`` convolutions, each followed by a bilinear enlargement by ``up_scale``.

    Naive: one or two pointwise convolutions. Progressive (PUP): four of 3 x 3, each doubling the size.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        num_convs: int = 1,
        up_scale: int = 4,
        kernel_size: int = 3,
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
        self.norm = LayerNorm2d(width, eps=1e-6)
        self.up_convs = nn.Sequential(
            *(
                nn.Sequential(
                    ConvNormAct(channels if i else width, channels, kernel_size),
                    nn.Upsample(scale_factor=up_scale, mode="bilinear", align_corners=align_corners),
                )
                for i in range(num_convs)
            )
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.up_convs(self.norm(self.merge(features))))


class SETRMLAHead(DecodeHead):
    """Each level through two convolutions, ``mla_channels`` wide, and enlarged by ``up_scale``; then all joined.

    ``channels`` is what they have together.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        mla_channels: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
        up_scale: int = 4,
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
        self.up_convs = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(width, mla_channels, 3),
                ConvNormAct(mla_channels, mla_channels, 3),
                nn.Upsample(scale_factor=up_scale, mode="bilinear", align_corners=align_corners),
            )
            for width in self.in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        levels = [up(feature) for up, feature in zip(self.up_convs, self.select(features), strict=True)]
        return self.classify(torch.cat(levels, dim=1))
