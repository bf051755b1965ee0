"""ISANet: attention between far positions, then between near ones, in place of all pairs.

Paper: Huang, Yuan, Guo, Zhang, Chen, Wang, "Interlaced Sparse Self-Attention for Semantic Segmentation", 2019
(https://arxiv.org/abs/1907.12273), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.position_attention import PositionAttention, projection
from segzoo.layers.symbolic import crop

__all__ = ["ISAHead", "ProjectedAttention"]


class ProjectedAttention(PositionAttention):
    """Attention ``width`` wide, with two convolutions before keys and queries and one after the whole."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            query_project=projection(channels, width, 2),
            key_project=projection(channels, width, 2),
            value_project=nn.Conv2d(channels, channels, kernel_size=1),
        )
        self.output_project = ConvNormAct(channels, channels)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return self.output_project(super().forward(x, source))


class ISAHead(DecodeHead):
    """Blocks of ``down_factor`` positions tile the map, zeros added around it where they do not fit.

    First the positions that have the same place in their blocks attend to each other, then those of each block.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        isa_channels: int,
        in_index: int = -1,
        down_factor: tuple[int, int] = (8, 8),
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
        self.down_factor = (down_factor[0], down_factor[1])
        self.in_conv = ConvNormAct(width, channels, 3)
        self.global_relation = ProjectedAttention(channels, isa_channels)
        self.local_relation = ProjectedAttention(channels, isa_channels)
        self.out_conv = ConvNormAct(2 * channels, channels)

    def relate(self, x: Tensor) -> Tensor:
        """Both attentions, one after the other: (N, channels, H, W) -> the same."""
        count, channels, height, width = x.shape
        block_h, block_w = self.down_factor
        blocks_h, blocks_w = -(-height // block_h), -(-width // block_w)
        extra_h, extra_w = blocks_h * block_h - height, blocks_w * block_w - width
        top, left = extra_h // 2, extra_w // 2
        x = F.pad(x, (left, extra_w - left, top, extra_h - top))
        x = x.reshape(count, channels, blocks_h, block_h, blocks_w, block_w)
        far = x.permute(0, 3, 5, 1, 2, 4).reshape(-1, channels, blocks_h, blocks_w)
        far = self.global_relation(far, far).reshape(count, block_h, block_w, channels, blocks_h, blocks_w)
        near = far.permute(0, 4, 5, 3, 1, 2).reshape(-1, channels, block_h, block_w)
        near = self.local_relation(near, near).reshape(count, blocks_h, blocks_w, channels, block_h, block_w)
        x = near.permute(0, 3, 1, 4, 2, 5).reshape(count, channels, blocks_h * block_h, blocks_w * block_w)
        return crop(crop(x, 2, top, height), 3, left, width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.in_conv(self.merge(features))
        return self.classify(self.out_conv(torch.cat([self.relate(x), x], dim=1)))
