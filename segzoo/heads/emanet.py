"""EMANet: the features rebuilt from a few bases, which expectation-maximisation fits to each picture.

Paper: Li, Zhong, Wu, Yang, Lin, Liu, "Expectation-Maximization Attention Networks for Semantic Segmentation", ICCV
2019 (https://arxiv.org/abs/1907.13426), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.expectation_maximization import ExpectationMaximizationAttention

__all__ = ["EMAHead"]


class EMAHead(DecodeHead):
    """EM attention on ``ema_channels`` channels, added to its input; one convolution sees the features beside it.

    ``ema_mid_conv``, which brings the input of the attention below zero, keeps its initial weights: no gradient
    passes through the attention.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        ema_channels: int,
        num_bases: int,
        num_stages: int,
        in_index: int = -1,
        momentum: float = 0.1,
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
        self.ema_module = ExpectationMaximizationAttention(
            ema_channels, num_bases=num_bases, num_stages=num_stages, momentum=momentum
        )
        self.ema_in_conv = ConvNormAct(width, ema_channels, 3)
        self.ema_mid_conv = ConvNormAct(ema_channels, ema_channels, norm=None, activation=None)
        self.ema_mid_conv.requires_grad_(False)
        self.ema_out_conv = ConvNormAct(ema_channels, ema_channels, activation=None)
        self.bottleneck = ConvNormAct(ema_channels, channels, 3)
        self.conv_cat = ConvNormAct(width + channels, channels, 3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        x = self.merge(features)
        out = self.ema_in_conv(x)
        rebuilt = self.ema_module(self.ema_mid_conv(out))
        out = torch.relu(out + self.ema_out_conv(torch.relu(rebuilt)))
        return self.classify(self.conv_cat(torch.cat([x, self.bottleneck(out)], dim=1)))
