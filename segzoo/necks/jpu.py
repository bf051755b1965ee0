"""Joint pyramid upsampling: an output stride of 8 from a backbone of 32, without dilating it.

Paper: Wu, Zhang, Huang, Liang, Yu, "FastFCN: Rethinking Dilated Convolution in the Backbone for Semantic
Segmentation", 2019 (https://arxiv.org/abs/1903.11816), section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segzoo.layers.resize import concat_resized

__all__ = ["JPU"]


class JPU(nn.Module):
    """Replaces the deepest feature by one at the first's resolution, ``len(dilations) * mid_channels`` wide.

    The features are brought to ``mid_channels``, joined at the first's size, and convolved at every dilation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        *,
        mid_channels: int = 512,
        dilations: Sequence[int] = (1, 2, 4, 8),
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.channels = (*in_channels[:-1], len(dilations) * mid_channels)
        self.strides = (*in_strides[:-1], in_strides[0])
        self.align_corners = align_corners
        self.conv_layers = nn.ModuleList(nn.Sequential(ConvNormAct(width, mid_channels, 3)) for width in in_channels)
        self.dilation_layers = nn.ModuleList(
            nn.Sequential(
                DepthwiseSeparableConv(
                    len(in_channels) * mid_channels,
                    mid_channels,
                    dilation=dilation,
                    depthwise_activation=None,
                )
            )
            for dilation in dilations
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        narrowed = [conv(feature) for conv, feature in zip(self.conv_layers, features, strict=True)]
        joined = concat_resized(narrowed, align_corners=self.align_corners)
        return [*features[:-1], torch.cat([layer(joined) for layer in self.dilation_layers], dim=1)]
