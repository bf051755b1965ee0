"""ICNet: one network at three resolutions of the picture, the deeper the coarser.

Paper: Zhao, Qi, Shen, Shi, Jia, "ICNet for Real-Time Semantic Segmentation on High-Resolution Images", ECCV 2018
(https://arxiv.org/abs/1704.08545), section 3.2. The fusion of the three is ``segzoo.necks.icneck``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.backbones.resnet import ResNet
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.pyramid_pooling import PyramidPooling

__all__ = ["ICNet"]


class ICNet(nn.Module):
    """The three branches: a few convolutions on the whole picture, the rest of a dilated ResNet on the halved ones.

    Args:
        depth: number of layers of the ResNet (deep stem, output stride 8).
        light_channels: width inside the branch of the whole picture.
        psp_channels: width of the pyramid pooling on the deepest features.
        out_channels: widths of the three outputs.
        align_corners: the flag of the resizes inside.

    Shapes: (N, 3, H, W) -> features of the whole, the halved and the quartered picture, at strides 8, 16 and 32.
    """

    pretrained_part = "backbone"  # what weights from before segmentation are for

    def __init__(
        self,
        *,
        depth: int,
        light_channels: int = 32,
        psp_channels: int = 512,
        out_channels: Sequence[int] = (64, 256, 256),
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.channels = tuple(out_channels)
        self.strides = (8, 16, 32)
        self.backbone = ResNet(depth=depth, deep_stem=True, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
        # The published network rounds this pooling's size up: one more row and column where the size is even.
        self.backbone.maxpool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        _, middle, _, deepest = self.backbone.channels
        pool_scales = (1, 2, 3, 6)
        self.psp_modules = PyramidPooling(pool_scales, deepest, psp_channels, align_corners=align_corners)
        self.psp_bottleneck = ConvNormAct(deepest + len(pool_scales) * psp_channels, psp_channels, 3)
        self.conv_sub1 = nn.Sequential(
            ConvNormAct(3, light_channels, 3, stride=2),
            ConvNormAct(light_channels, light_channels, 3, stride=2),
            ConvNormAct(light_channels, out_channels[0], 3, stride=2),
        )
        self.conv_sub2 = ConvNormAct(middle, out_channels[1])
        self.conv_sub4 = ConvNormAct(psp_channels, out_channels[2])

    def halve(self, x: Tensor) -> Tensor:
        """Half the size, rounded down; the factor is one half also where the size is odd."""
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=self.align_corners)

    def run(self, x: Tensor, *parts: str) -> Tensor:
        """``x`` through the ResNet's parts of these names."""
        for part in parts:
            x = getattr(self.backbone, part)(x)
        return x

    def forward(self, x: Tensor) -> list[Tensor]:
        half = self.run(self.halve(x), "stem", "maxpool", "layer1", "layer2")
        quarter = self.run(self.halve(half), "layer3", "layer4")
        quarter = self.psp_bottleneck(torch.cat([*self.psp_modules(quarter), quarter], dim=1))
        return [self.conv_sub1(x), self.conv_sub2(half), self.conv_sub4(quarter)]
