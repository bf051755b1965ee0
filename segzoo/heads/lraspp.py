"""LR-ASPP: MobileNetV3's light head, a 1 x 1 convolution scaled by a coarse picture of itself.

Paper: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam, "Searching for MobileNetV3",
ICCV 2019 (https://arxiv.org/abs/1905.02244), section 6.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from segzoo.errors import InputSizeError
from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import resize

__all__ = ["LRASPPHead"]

_norm = partial(nn.BatchNorm2d, eps=1e-3)


class LRASPPHead(DecodeHead):
    """The deepest feature, scaled, then joined at each step up by a finer one.

    Args:
        in_index: features from the finest to the deepest.
        branch_channels: widths that the finer features are brought to.
        pool_size, pool_stride: windows, in positions of the deepest feature, of the means that scale it. They do not
            shrink with the picture: one too small for a window is refused.
        output_stride: stride of the deepest feature, to say in that error which size would do.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: Sequence[int] = (0, 1, 2),
        branch_channels: Sequence[int] = (32, 64),
        pool_size: int = 49,
        pool_stride: tuple[int, int] = (16, 20),
        output_stride: int = 8,
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
        *finer, deepest = self.in_channels
        self.convs = nn.Sequential()
        self.conv_ups = nn.Sequential()
        for i, (width, branch) in enumerate(zip(finer, branch_channels, strict=True)):
            self.convs.add_module(f"conv{i}", nn.Conv2d(width, branch, 1, bias=False))
            self.conv_ups.add_module(f"conv_up{i}", ConvNormAct(channels + branch, channels, norm=_norm))
        self.conv_up_input = nn.Conv2d(channels, channels, 1)
        self.aspp_conv = ConvNormAct(deepest, channels, norm=_norm)
        self.image_pool = nn.Sequential(
            nn.AvgPool2d(pool_size, stride=pool_stride),
            ConvNormAct(deepest, channels, bias=False, norm=None, activation=nn.Sigmoid),
        )
        self.pool_size = pool_size
        self.output_stride = output_stride

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (N, num_classes, H, W) at the size of the finest feature.

        Raises:
            InputSizeError: the picture is smaller than the window of the means.
        """
        *finer, x = self.select(features)
        if any(side < self.pool_size for side in x.shape[2:]):
            smallest = (self.pool_size - 1) * self.output_stride + 1
            raise InputSizeError(
                f"LR-ASPP averages over windows of {self.pool_size} positions a side, and this input gives "
                f"{x.shape[2]} by {x.shape[3]}: take one of at least {smallest} x {smallest} pixels"
            )
        scale = resize(self.image_pool(x), x.shape[2:], align_corners=self.align_corners)
        x = self.conv_up_input(self.aspp_conv(x) * scale)
        for feature, narrow, mix in zip(reversed(finer), self.convs[::-1], self.conv_ups[::-1], strict=True):
            x = resize(x, feature.shape[2:], align_corners=self.align_corners)
            x = mix(torch.cat([x, narrow(feature)], dim=1))
        return self.classify(x)
