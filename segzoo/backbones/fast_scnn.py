"""Fast-SCNN: one shallow network whose first layers serve both the detail and the context.

Paper: Poudel, Liwicki, Cipolla, "Fast-SCNN: Fast Semantic Segmentation Network", BMVC 2019
(https://arxiv.org/abs/1902.04502), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segzoo.layers.inverted_residual import InvertedResidual
from segzoo.layers.pyramid_pooling import PyramidPooling
from segzoo.layers.resize import resize

__all__ = ["FastSCNN"]


class LearningToDownsample(nn.Module):
    """A convolution and two separable ones, each halving the size (section 3.2.1)."""

    def __init__(self, widths: Sequence[int], out_channels: int) -> None:
        super().__init__()
        first, second = widths
        self.conv = ConvNormAct(3, first, 3, stride=2)
        self.dsconv1 = DepthwiseSeparableConv(first, second, stride=2, depthwise_activation=None)
        self.dsconv2 = DepthwiseSeparableConv(second, out_channels, stride=2, depthwise_activation=None)

    def forward(self, x: Tensor) -> Tensor:
        return self.dsconv2(self.dsconv1(self.conv(x)))


class GlobalFeatureExtractor(nn.Module):
    """Three groups of three inverted residuals, then pyramid pooling (section 3.2.2)."""

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        strides: Sequence[int],
        out_channels: int,
        *,
        align_corners: bool,
    ) -> None:
        super().__init__()
        stages = []
        for width, stride in zip(widths, strides, strict=True):
            first = InvertedResidual(in_channels, width, stride=stride)
            stages.append(nn.Sequential(first, *(InvertedResidual(width, width) for _ in range(2))))
            in_channels = width
        self.bottleneck1, self.bottleneck2, self.bottleneck3 = stages
        self.ppm = PyramidPooling((1, 2, 3, 6), in_channels, in_channels // 4, align_corners=align_corners)
        self.out = ConvNormAct(2 * in_channels, out_channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bottleneck3(self.bottleneck2(self.bottleneck1(x)))
        return self.out(torch.cat([x, *self.ppm(x)], dim=1))


class FeatureFusion(nn.Module):
    """Adds the context, brought to the detail's size, to the detail (section 3.2.3)."""

    def __init__(self, higher_channels: int, lower_channels: int, out_channels: int, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.dwconv = ConvNormAct(lower_channels, out_channels, 3, groups=out_channels)
        self.conv_lower_res = ConvNormAct(out_channels, out_channels, activation=None)
        self.conv_higher_res = ConvNormAct(higher_channels, out_channels, activation=None)

    def forward(self, higher: Tensor, lower: Tensor) -> Tensor:
        lower = resize(lower, higher.shape[2:], align_corners=self.align_corners)
        return torch.relu(self.conv_higher_res(higher) + self.conv_lower_res(self.dwconv(lower)))


class FastSCNN(nn.Module):
    """Fast-SCNN up to its classifier.

    Args:
        downsample_channels: widths of the first two layers.
        higher_channels: width of the detail features (output 0, stride 8).
        global_channels, global_strides: widths and strides of the three groups of bottlenecks.
        lower_channels: width of the context features (output 1, stride 32).
        fusion_channels: width of the fused features (output 2, stride 8).
        align_corners: the flag of the resizes inside.

    Shapes: (N, 3, H, W) -> detail, context and fused features.
    """

    def __init__(
        self,
        *,
        downsample_channels: Sequence[int] = (32, 48),
        higher_channels: int = 64,
        global_channels: Sequence[int] = (64, 96, 128),
        global_strides: Sequence[int] = (2, 2, 1),
        lower_channels: int = 128,
        fusion_channels: int = 128,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.channels = (higher_channels, lower_channels, fusion_channels)
        self.strides = (8, 32, 8)
        self.learning_to_downsample = LearningToDownsample(downsample_channels, higher_channels)
        self.global_feature_extractor = GlobalFeatureExtractor(
            higher_channels, global_channels, global_strides, lower_channels, align_corners=align_corners
        )
        self.feature_fusion = FeatureFusion(
            higher_channels, lower_channels, fusion_channels, align_corners=align_corners
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        higher = self.learning_to_downsample(x)
        lower = self.global_feature_extractor(higher)
        return [higher, lower, self.feature_fusion(higher, lower)]
