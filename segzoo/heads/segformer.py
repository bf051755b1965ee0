"""SegFormer's head: every feature to one width and size, then two pointwise layers.

Paper: Xie, Wang, Yu, Anandkumar, Alvarez, Luo, "SegFormer: Simple and Efficient Design for Semantic Segmentation
with Transformers", NeurIPS 2021 (https://arxiv.org/abs/2105.15203), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import concat_resized

__all__ = ["SegformerHead"]


class SegformerHead(DecodeHead):
    """Brings every feature to ``channels``, joins them at the first one's size, and mixes them to ``channels``."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
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
        self.convs = nn.ModuleList(ConvNormAct(width, channels) for width in self.in_channels)
        self.fusion_conv = ConvNormAct(len(self.in_channels) * channels, channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        narrowed = [conv(feature) for conv, feature in zip(self.convs, self.select(features), strict=True)]
        return self.classify(self.fusion_conv(concat_resized(narrowed, align_corners=self.align_corners)))
