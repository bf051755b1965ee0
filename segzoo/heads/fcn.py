"""FCN: a few convolutions and a classifier; also the auxiliary head of most methods.

Paper: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015
(https://arxiv.org/abs/1411.4038). The depthwise separable form is the head of Fast-SCNN (see its backbone).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct, DepthwiseSeparableConv

__all__ = ["DepthwiseSeparableFCNHead", "FCNHead"]


class FCNHead(DecodeHead):
    """``num_convs`` convolutions; with ``concat_input`` one more sees the input beside their output.

    ``dilation`` spreads the convolutions (FCN-D6 uses 6) but not the one after the concatenation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int | Sequence[int] = -1,
        num_convs: int = 2,
        kernel_size: int = 3,
        concat_input: bool = True,
        dilation: int = 1,
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
        width = sum(self.in_channels)
        widths = [width, *[channels] * num_convs]
        self.convs = nn.Sequential(
            *(self.convolution(a, b, kernel_size, dilation) for a, b in itertools.pairwise(widths))
        )
        self.concat_input = concat_input
        if concat_input:
            self.conv_cat = self.convolution(width + channels, channels, kernel_size, 1)

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> nn.Module:
        """One convolution of the head; the depthwise separable form puts another here."""
        return ConvNormAct(in_channels, out_channels, kernel_size, dilation=dilation)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """What the classifier sees (N, channels, H, W)."""
        x = self.merge(features)
        out = self.convs(x)
        return self.conv_cat(torch.cat([x, out], dim=1)) if self.concat_input else out

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.embed(features))


class DepthwiseSeparableFCNHead(FCNHead):
    """An FCN head whose convolutions are depthwise separable."""

    def convolution(self, in_channels: int, out_channels: int, kernel_size: int, dilation: int) -> nn.Module:
        return DepthwiseSeparableConv(
            in_channels, out_channels, kernel_size, dilation=dilation, depthwise_activation=None
        )
