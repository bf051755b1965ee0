"""The cascade feature fusion of ICNet.

Paper: Zhao, Qi, Shen, Shi, Jia, "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", ECCV 2018
(https://arxiv.org/abs/1704.08545), section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import resize

__all__ = ["ICNeck"]


class CascadeFeatureFusion(nn.Module):
    """Adds a coarse map, enlarged and convolved, to a projected fine one; returns the sum and the coarse part."""

    def __init__(self, low_channels: int, high_channels: int, out_channels: int, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.conv_low = ConvNormAct(low_channels, out_channels, 3, dilation=2)
        self.conv_high = ConvNormAct(high_channels, out_channels)

    def forward(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low = self.conv_low(resize(low, high.shape[2:], align_corners=self.align_corners))
        return low + self.conv_high(high), low


class ICNeck(nn.Module):
    """Fuses three features, the coarsest first.

    Returns, ``out_channels`` wide each: the coarsest part at the middle's size and the middle part at the finest
    size (both for auxiliary heads), and the fused map at the finest size.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        *,
        out_channels: int = 128,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        fine, middle, coarse = in_channels
        self.channels = (out_channels,) * 3
        self.strides = (in_strides[1], in_strides[0], in_strides[0])
        self.cff_24 = CascadeFeatureFusion(coarse, middle, out_channels, align_corners=align_corners)
        self.cff_12 = CascadeFeatureFusion(out_channels, fine, out_channels, align_corners=align_corners)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        fine, middle, coarse = features
        fused, coarse_part = self.cff_24(coarse, middle)
        fused, middle_part = self.cff_12(fused, fine)
        return [coarse_part, middle_part, fused]
