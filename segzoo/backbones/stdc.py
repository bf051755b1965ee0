"""STDC: short-term dense concatenation, with the context path of BiSeNet.

Paper: Fan, Lai, Huang, Wei, Chai, Luo, Wei, "Rethinking BiSeNet For Real-time Semantic Segmentation", CVPR 2021
(https://arxiv.org/abs/2104.13188), section 3. Its detail guidance, of training only, is ``segzoo.heads.stdc``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.attention_refinement import AttentionRefinement
from segzoo.layers.conv import ConvNormAct

__all__ = ["STDCContextPath", "STDCNet"]


class STDCModule(nn.Module):
    """Convolutions of ever fewer channels, one on the other; all their outputs are concatenated (section 3.1).

    At stride 2 a depthwise convolution before the second one halves the size, and a pooling that of the first's
    output.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int, num_convs: int = 4) -> None:
        super().__init__()
        widths = [out_channels // 2 ** (i + 1) for i in range(num_convs)]
        widths[-1] = widths[-2]  # so that the widths sum to out_channels
        self.layers = nn.ModuleList([ConvNormAct(in_channels, widths[0])])
        for before, width in pairwise(widths):
            self.layers.append(ConvNormAct(before, width, 3))
        self.halves = stride == 2
        if self.halves:
            self.downsample = ConvNormAct(widths[0], widths[0], 3, stride=2, groups=widths[0], activation=None)
            self.skip = nn.AvgPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.layers
        x = first(x)
        outputs = [self.skip(x) if self.halves else x]
        if self.halves:
            x = self.downsample(x)
        for layer in others:
            x = layer(x)
            outputs.append(x)
        return torch.cat(outputs, dim=1)


class STDCNet(nn.Module):
    """Two convolutions and three stages of STDC modules, each halving the size (table 2).

    Args:
        blocks: modules of each stage; (2, 2, 2) is STDC1, (4, 5, 3) is STDC2.
        widths: channels of the two convolutions and of the stages.

    Shapes: (N, 3, H, W) -> the stages' features, at strides 8, 16 and 32.
    """

    def __init__(self, *, blocks: Sequence[int] = (2, 2, 2), widths: Sequence[int] = (32, 64, 256, 512, 1024)) -> None:
        super().__init__()
        first, second, *stages = widths
        self.channels = tuple(stages)
        self.strides = (8, 16, 32)
        self.stages = nn.ModuleList([ConvNormAct(3, first, 3, stride=2), ConvNormAct(first, second, 3, stride=2)])
        in_channels = second
        for width, count in zip(stages, blocks, strict=True):
            modules = [STDCModule(in_channels, width, stride=2)]
            modules += [STDCModule(width, width, stride=1) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*modules))
            in_channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[-len(self.channels) :]


class FeatureFusion(nn.Module):
    """Joins detail and context; a gate on the channels, narrowed to a quarter, weighs a second copy of the result."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        hidden = out_channels // 4
        self.conv0 = ConvNormAct(in_channels, out_channels)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            ConvNormAct(out_channels, hidden, norm=None, bias=False),
            ConvNormAct(hidden, out_channels, norm=None, bias=False, activation=None),
            nn.Sigmoid(),
        )

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        x = self.conv0(torch.cat([detail, context], dim=1))
        return x + x * self.attention(x)


class STDCContextPath(nn.Module):
    """STDC up to its classifier.

    Args:
        blocks: modules of each stage of the STDC network.
        context_channels: width of the context features (outputs 1 and 2).
        out_channels: width of the fused features (output 3).

    Shapes: (N, 3, H, W) -> detail (stride 8), context (16), context (8), fused features (8).
    """

    pretrained_part = "backbone"  # what weights from before segmentation are for

    def __init__(
        self, *, blocks: Sequence[int] = (2, 2, 2), context_channels: int = 128, out_channels: int = 256
    ) -> None:
        super().__init__()
        self.backbone = STDCNet(blocks=blocks)
        detail, middle, deepest = self.backbone.channels
        self.channels = (detail, context_channels, context_channels, out_channels)
        self.strides = (8, 16, 8, 8)
        self.arms = nn.ModuleList(AttentionRefinement(width, context_channels) for width in (deepest, middle))
        self.convs = nn.ModuleList(ConvNormAct(context_channels, context_channels, 3) for _ in range(2))
        self.conv_avg = ConvNormAct(deepest, context_channels)
        self.ffm = FeatureFusion(detail + context_channels, out_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        detail, middle, deepest = self.backbone(x)
        context = self.conv_avg(F.adaptive_avg_pool2d(deepest, 1))
        contexts = []
        for refine, conv, feature, finer in zip(
            self.arms, self.convs, (deepest, middle), (middle, detail), strict=True
        ):
            context = conv(F.interpolate(refine(feature) + context, finer.shape[2:], mode="nearest"))
            contexts.append(context)
        return [detail, *contexts, self.ffm(detail, context)]
