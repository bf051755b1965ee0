"""BiSeNet V2: a wide shallow branch for detail, a thin deep one for semantics, and guided aggregation of the two.

Paper: Yu, Gao, Wang, Yu, Shen, Sang, "BiSeNet V2: Bilateral Network with Guided Aggregation for Real-time Semantic
Segmentation", IJCV 2021 (https://arxiv.org/abs/2004.02147), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct, DepthwiseSeparableConv
from segzoo.layers.resize import resize

__all__ = ["BiSeNetV2"]


class DetailBranch(nn.Module):
    """Three stages of 3 x 3 convolutions; the first of each stage halves the size (section 4.1)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        stages = []
        in_channels = 3
        for width, convolutions in zip(widths, (2, 3, 3), strict=True):
            layers = [ConvNormAct(in_channels, width, 3, stride=2)]
            layers += [ConvNormAct(width, width, 3) for _ in range(convolutions - 1)]
            stages.append(nn.Sequential(*layers))
            in_channels = width
        self.detail_branch = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.detail_branch(x)


class Stem(nn.Module):
    """Quarters the size: a convolution, then two more beside a max pooling (section 4.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_first = ConvNormAct(3, channels, 3, stride=2)
        self.convs = nn.Sequential(
            ConvNormAct(channels, channels // 2), ConvNormAct(channels // 2, channels, 3, stride=2)
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.fuse_last = ConvNormAct(2 * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_first(x)
        return self.fuse_last(torch.cat([self.convs(x), self.pool(x)], dim=1))


class GatherExpansion(nn.Module):
    """A 3 x 3 convolution, a widening depthwise one, a 1 x 1 one, beside a shortcut (section 4.2).

    At stride 2 there are two depthwise convolutions, and the shortcut is a separable one.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, expansion_ratio: int) -> None:
        super().__init__()
        hidden = in_channels * expansion_ratio
        self.conv1 = ConvNormAct(in_channels, in_channels, 3)
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.dwconv = nn.Sequential(ConvNormAct(in_channels, hidden, 3, groups=in_channels))
        else:
            self.dwconv = nn.Sequential(
                ConvNormAct(in_channels, hidden, 3, stride=stride, groups=in_channels, activation=None),
                ConvNormAct(hidden, hidden, 3, groups=hidden),
            )
            self.shortcut = nn.Sequential(
                DepthwiseSeparableConv(
                    in_channels, out_channels, stride=stride, depthwise_activation=None, activation=None
                )
            )
        self.conv2 = nn.Sequential(ConvNormAct(hidden, out_channels, activation=None))

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.dwconv(self.conv1(x)))
        return torch.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class ContextEmbedding(nn.Module):
    """Adds the mean of the picture, normalised and projected, to every position, and convolves (section 4.2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gap = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(channels))
        self.conv_gap = ConvNormAct(channels, channels)
        self.conv_last = ConvNormAct(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_last(x + self.conv_gap(self.gap(x)))


class SemanticBranch(nn.Module):
    """The stem, three stages of gather-and-expansion layers, and the context embedding (section 4.2)."""

    def __init__(self, widths: Sequence[int], expansion_ratio: int) -> None:
        super().__init__()

        def stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
            layers = [GatherExpansion(in_channels, out_channels, stride=2, expansion_ratio=expansion_ratio)]
            layers += [
                GatherExpansion(out_channels, out_channels, stride=1, expansion_ratio=expansion_ratio)
                for _ in range(blocks - 1)
            ]
            return nn.Sequential(*layers)

        self.stage1 = Stem(widths[0])
        self.stage2 = stage(widths[0], widths[1], 2)
        self.stage3 = stage(widths[1], widths[2], 2)
        self.stage4 = stage(widths[2], widths[3], 4)
        self.stage4_CEBlock = ContextEmbedding(widths[3])

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in (self.stage1, self.stage2, self.stage3, self.stage4, self.stage4_CEBlock):
            x = stage(x)
            features.append(x)
        return features


class GuidedAggregation(nn.Module):
    """Either branch, at the detail's and at the semantics' resolution, gated by the other's; then their sum (4.3)."""

    def __init__(self, channels: int, *, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.detail_dwconv = nn.Sequential(self.separable(channels))
        self.detail_down = nn.Sequential(
            ConvNormAct(channels, channels, 3, stride=2, activation=None), nn.AvgPool2d(3, stride=2, padding=1)
        )
        self.semantic_conv = nn.Sequential(ConvNormAct(channels, channels, 3, activation=None))
        self.semantic_dwconv = nn.Sequential(self.separable(channels))
        self.conv = ConvNormAct(channels, channels, 3)

    @staticmethod
    def separable(channels: int) -> nn.Module:
        """A separable convolution that ends without norm and activation."""
        return DepthwiseSeparableConv(
            channels, channels, depthwise_activation=None, pointwise_norm=None, activation=None
        )

    def forward(self, detail: Tensor, semantic: Tensor) -> Tensor:
        size = detail.shape[2:]
        gate = resize(self.semantic_conv(semantic), size, align_corners=self.align_corners).sigmoid()
        fine = self.detail_dwconv(detail) * gate
        coarse = self.detail_down(detail) * self.semantic_dwconv(semantic).sigmoid()
        return self.conv(fine + resize(coarse, size, align_corners=self.align_corners))


class BiSeNetV2(nn.Module):
    """BiSeNet V2 up to its classifier.

    Args:
        detail_channels: widths of the detail branch's stages.
        semantic_channels: widths of the semantic branch's stages; the last is also the detail's last.
        expansion_ratio: widening inside the gather-and-expansion layers.
        align_corners: the flag of the resizes inside.

    Shapes: (N, 3, H, W) -> the aggregated features (stride 8), then those of the four semantic stages (4, 8, 16, 32).
    """

    def __init__(
        self,
        *,
        detail_channels: Sequence[int] = (64, 64, 128),
        semantic_channels: Sequence[int] = (16, 32, 64, 128),
        expansion_ratio: int = 6,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.channels = (detail_channels[-1], *semantic_channels)
        self.strides = (8, 4, 8, 16, 32)
        self.detail = DetailBranch(detail_channels)
        self.semantic = SemanticBranch(semantic_channels, expansion_ratio)
        self.bga = GuidedAggregation(detail_channels[-1], align_corners=align_corners)

    def forward(self, x: Tensor) -> list[Tensor]:
        *stages, embedded = self.semantic(x)
        return [self.bga(self.detail(x), embedded), *stages]
