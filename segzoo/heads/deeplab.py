"""DeepLabV3 and DeepLabV3+: atrous spatial pyramid pooling, and its decoder.

Papers: Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017
(https://arxiv.org/abs/1706.05587), section 3.3; Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous
Separable Convolution for Semantic Image Segmentation", ECCV 2018 (https://arxiv.org/abs/1802.02611), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segzoo.layers.resize import resize

__all__ = ["ASPPHead", "DepthwiseSeparableASPPHead"]


class ASPPHead(DecodeHead):
    """The mean of the picture and a convolution per dilation (1 x 1 at dilation 1, else 3 x 3), joined and mixed."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        dilations: Sequence[int] = (1, 6, 12, 18),
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
        self.image_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(width, channels))
        self.aspp_modules = nn.ModuleList(
            ConvNormAct(width, channels) if dilation == 1 else self.atrous(width, channels, dilation)
            for dilation in dilations
        )
        self.bottleneck = ConvNormAct((len(dilations) + 1) * channels, channels, 3)

    def atrous(self, in_channels: int, channels: int, dilation: int) -> nn.Module:
        """The convolution of one dilation; DeepLabV3+ puts a separable one here."""
        return ConvNormAct(in_channels, channels, 3, dilation=dilation)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """What the classifier sees (N, channels, H, W): the mixed pyramid."""
        x = self.merge(features)
        pooled = resize(self.image_pool(x), x.shape[2:], align_corners=self.align_corners)
        return self.bottleneck(torch.cat([pooled, *(branch(x) for branch in self.aspp_modules)], dim=1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.classify(self.embed(features))


class DepthwiseSeparableASPPHead(ASPPHead):
    """Separable atrous convolutions, then a decoder that sees the shallowest feature, ``c1_channels`` wide."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        c1_channels: int = 0,
        dilations: Sequence[int] = (1, 6, 12, 18),
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            dilations=dilations,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
        )
        self.c1_bottleneck = ConvNormAct(in_channels[0], c1_channels) if c1_channels else None
        self.sep_bottleneck = nn.Sequential(
            DepthwiseSeparableConv(channels + c1_channels, channels),
            DepthwiseSeparableConv(channels, channels),
        )

    def atrous(self, in_channels: int, channels: int, dilation: int) -> nn.Module:
        return DepthwiseSeparableConv(in_channels, channels, dilation=dilation)

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        x = super().embed(features)
        if self.c1_bottleneck is not None:
            shallow = self.c1_bottleneck(features[0])
            x = torch.cat([resize(x, shallow.shape[2:], align_corners=self.align_corners), shallow], dim=1)
        return self.sep_bottleneck(x)
