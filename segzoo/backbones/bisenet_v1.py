"""BiSeNet: a shallow path keeps the detail, a ResNet sees the context.

Paper: Yu, Wang, Peng, Gao, Yu, Sang, "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
ECCV 2018 (https://arxiv.org/abs/1808.00897), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.backbones.resnet import ResNet
from segzoo.layers.attention_refinement import AttentionRefinement
from segzoo.layers.conv import ConvNormAct

__all__ = ["BiSeNetV1"]


class SpatialPath(nn.Module):
    """Three convolutions, each halving the size, and a 1 x 1 one (section 3.1)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        first, second, third, last = widths
        self.layer1 = ConvNormAct(3, first, 7, stride=2)
        self.layer2 = ConvNormAct(first, second, 3, stride=2)
        self.layer3 = ConvNormAct(second, third, 3, stride=2)
        self.layer4 = ConvNormAct(third, last)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class ContextPath(nn.Module):
    """The two deepest features of a ResNet, refined, from the mean of the picture upwards (section 3.2)."""

    def __init__(self, depth: int, channels: int) -> None:
        super().__init__()
        self.backbone = ResNet(depth=depth, out_indices=(1, 2, 3))
        _, width16, width32 = self.backbone.channels
        self.arm16 = AttentionRefinement(width16, channels)
        self.arm32 = AttentionRefinement(width32, channels)
        self.conv_head32 = ConvNormAct(channels, channels, 3)
        self.conv_head16 = ConvNormAct(channels, channels, 3)
        self.gap_conv = nn.Sequential(nn.AdaptiveAvgPool2d(1), ConvNormAct(width32, channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x8, x16, x32 = self.backbone(x)
        context = self.arm32(x32) + self.gap_conv(x32)
        context16 = self.conv_head32(F.interpolate(context, x16.shape[2:], mode="nearest"))
        context = self.arm16(x16) + context16
        context8 = self.conv_head16(F.interpolate(context, x8.shape[2:], mode="nearest"))
        return context8, context16


class FeatureFusion(nn.Module):
    """Joins detail and context; a gate on the channels weighs a second copy of the result (section 3.3)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, out_channels)
        # As published, a ReLU before the sigmoid: the gate is never below one half.
        self.conv_atten = nn.Sequential(ConvNormAct(out_channels, out_channels), nn.Sigmoid())

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.conv1(torch.cat([spatial, context], dim=1))
        return x + x * self.conv_atten(F.adaptive_avg_pool2d(x, 1))


class BiSeNetV1(nn.Module):
    """BiSeNet up to its classifier.

    Args:
        depth: number of layers of the ResNet.
        context_channels: width of the context features (outputs 1 and 2, strides 8 and 16).
        spatial_channels: widths of the four layers of the spatial path.
        out_channels: width of the fused features (output 0, stride 8).

    Shapes: (N, 3, H, W) -> fused features, context at stride 8, context at stride 16.
    """

    pretrained_part = "context_path.backbone"  # what weights from before segmentation are for

    def __init__(
        self,
        *,
        depth: int,
        context_channels: int = 128,
        spatial_channels: Sequence[int] = (64, 64, 64, 128),
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.channels = (out_channels, context_channels, context_channels)
        self.strides = (8, 8, 16)
        self.context_path = ContextPath(depth, context_channels)
        self.spatial_path = SpatialPath(spatial_channels)
        self.ffm = FeatureFusion(spatial_channels[-1] + context_channels, out_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        context8, context16 = self.context_path(x)
        return [self.ffm(self.spatial_path(x), context8), context8, context16]
