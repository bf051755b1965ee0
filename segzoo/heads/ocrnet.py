"""OCRNet: each position is described by the objects it belongs to, as a first head sees them.

Paper: Yuan, Chen, Wang, "Object-Contextual Representations for Semantic Segmentation", ECCV 2020
(https://arxiv.org/abs/1909.11065), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.position_attention import PositionAttention, gather_context, projection

__all__ = ["OCRHead"]


class ObjectAttention(PositionAttention):
    """Positions gather from the regions by likeness; what they gather is joined to them and mixed.

    Shapes: x (N, in_channels, H, W), regions (N, in_channels, K, 1) -> (N, in_channels, H, W).
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            query_project=projection(in_channels, channels, 2),
            key_project=projection(in_channels, channels, 2),
            value_project=projection(in_channels, channels),
            out_project=projection(channels, in_channels),
        )
        self.bottleneck = ConvNormAct(2 * in_channels, in_channels)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([super().forward(x, source), x], dim=1))


class OCRHead(DecodeHead):
    """The second head of a cascade: the first one's logits weigh the positions that make up each class's region.

    Args:
        ocr_channels: width of the attention between positions and regions.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int | Sequence[int] = -1,
        ocr_channels: int = 256,
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
        self.bottleneck = ConvNormAct(sum(self.in_channels), channels, 3)
        self.object_context_block = ObjectAttention(channels, ocr_channels)

    def forward(self, features: Sequence[Tensor], previous: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) from the features and the first head's logits, of the same shape."""
        x = self.bottleneck(self.merge(features))
        return self.classify(self.object_context_block(x, gather_context(x, previous)))
