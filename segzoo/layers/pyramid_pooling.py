"""Pyramid pooling (Zhao et al., Pyramid Scene Parsing Network, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import resize

__all__ = ["PyramidPooling"]


class PyramidPooling(nn.ModuleList):
    """Averages over grids of ``pool_scales`` bins a side, each projected to ``channels`` and brought back to size.

    Shapes: (N, in_channels, H, W) -> one (N, channels, H, W) per pool scale.
    """

    def __init__(
        self, pool_scales: Sequence[int], in_channels: int, channels: int, *, align_corners: bool = False
    ) -> None:
        super().__init__(
            nn.Sequential(nn.AdaptiveAvgPool2d(scale), ConvNormAct(in_channels, channels)) for scale in pool_scales
        )
        self.align_corners = align_corners

    def forward(self, x: Tensor) -> list[Tensor]:
        return [resize(pool(x), x.shape[2:], align_corners=self.align_corners) for pool in self]
