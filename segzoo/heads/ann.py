"""ANN: asymmetric non-local blocks, whose keys and values are pooled over a pyramid of grids.

Paper: Zhu, Xu, Bai, Huang, Bai, "Asymmetric Non-local Neural Networks for Semantic Segmentation", ICCV 2019
(https://arxiv.org/abs/1908.07678), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct, Factory, relu
from segzoo.layers.initial import start_at_zero
from segzoo.layers.position_attention import PositionAttention

__all__ = ["ANNHead", "AsymmetricNonLocal", "PooledPositions"]


class PooledPositions(nn.Module):
    """Averages over grids of ``pool_scales`` bins a side, one after the other.

    Shapes: (N, C, H, W) -> (N, C, sum of the squared scales).
    """

    def __init__(self, pool_scales: Sequence[int]) -> None:
        super().__init__()
        self.pool_scales = tuple(pool_scales)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([F.adaptive_avg_pool2d(x, scale).flatten(2) for scale in self.pool_scales], dim=2)


class AsymmetricNonLocal(nn.Module):
    """The positions of ``high`` gather from pooled ones of ``low``; the two are joined and projected.

    With ``share_key_query``, for one map attending to itself, key and query have one projection, which the state dict
    names twice.

    Shapes: low (N, low_channels, H', W'), high (N, high_channels, H, W) -> (N, high_channels, H, W).
    """

    def __init__(
        self,
        low_channels: int,
        high_channels: int,
        project_channels: int,
        pool_scales: Sequence[int],
        *,
        share_key_query: bool,
        activation: Factory | None,
    ) -> None:
        super().__init__()
        key_project = ConvNormAct(low_channels, project_channels)
        out_project = nn.Conv2d(project_channels, high_channels, kernel_size=1)
        start_at_zero(out_project)
        attention = PositionAttention(
            query_project=key_project if share_key_query else ConvNormAct(high_channels, project_channels),
            key_project=key_project,
            value_project=nn.Conv2d(low_channels, project_channels, kernel_size=1),
            out_project=out_project,
            key_pool=PooledPositions(pool_scales),
        )
        self.stages = nn.ModuleList([attention])
        self.bottleneck = ConvNormAct(2 * high_channels, high_channels, activation=activation)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.bottleneck(torch.cat([self.stages[0](high, low), high], dim=1))


class ANNHead(DecodeHead):
    """Fuses the two features of ``in_index``, the shallower one first; then the result attends to itself."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        project_channels: int,
        in_index: Sequence[int] = (2, 3),
        key_pool_scales: Sequence[int] = (1, 3, 6, 8),
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
        low, high = self.in_channels
        self.fusion = AsymmetricNonLocal(
            low, high, project_channels, key_pool_scales, share_key_query=False, activation=None
        )
        self.bottleneck = ConvNormAct(high, channels, 3)
        self.context = AsymmetricNonLocal(
            channels, channels, project_channels, key_pool_scales, share_key_query=True, activation=relu
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        low, high = self.select(features)
        x = self.bottleneck(self.dropout(self.fusion(low, high)))
        return self.classify(self.context(x, x))
