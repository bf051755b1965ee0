"""U-Net: a contracting path, and an expanding path that joins each of its levels again.

Paper: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", MICCAI 2015
(https://arxiv.org/abs/1505.04597), section 2. As published for these checkpoints: convolutions keep the size, batch
norms follow them, and a bilinear resize with a 1 x 1 convolution stands for the transposed convolution.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from segzoo.errors import InputSizeError
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import resize

__all__ = ["UNet"]


class ConvPair(nn.Module):
    """Two 3 x 3 convolutions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            ConvNormAct(in_channels, out_channels, 3), ConvNormAct(out_channels, out_channels, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class Upsample(nn.Module):
    """A bilinear resize (its corners never aligned), then a 1 x 1 convolution with norm and activation."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        # The published state dict counts the resize as layer 0.
        self.interp_upsample = nn.ModuleList([nn.Identity(), ConvNormAct(in_channels, out_channels)])

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        layer = cast(ConvNormAct, self.interp_upsample[1])
        # A 1 x 1 convolution commutes with the resize and costs a quarter before it; the norm's statistics stay.
        return torch.relu(layer.bn(resize(layer.conv(x), size)))


class UpBlock(nn.Module):
    """Brings the deeper map to the level's size, joins it to the encoder's, and convolves twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_block = ConvPair(2 * out_channels, out_channels)
        self.upsample = Upsample(in_channels, out_channels)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        return self.conv_block(torch.cat([skip, self.upsample(x, skip.shape[2:])], dim=1))


class UNet(nn.Module):
    """U-Net up to its classifier.

    Args:
        base_channels: width of the first level; every level down doubles it.
        num_stages: levels.

    Shapes: (N, 3, H, W) -> from the deepest level to the full size, one
    (N, channels[i], H // strides[i], W // strides[i]) a level.

    Raises:
        InputSizeError: a side of the input is shorter than the deepest level's stride.
    """

    def __init__(self, *, base_channels: int = 64, num_stages: int = 5) -> None:
        super().__init__()
        widths = [base_channels * 2**i for i in range(num_stages)]
        self.channels = tuple(reversed(widths))
        self.strides = tuple(2**i for i in reversed(range(num_stages)))
        self.encoder = nn.ModuleList([nn.Sequential(ConvPair(3, base_channels))])
        self.decoder = nn.ModuleList()
        for above, below in pairwise(widths):
            self.encoder.append(nn.Sequential(nn.MaxPool2d(2), ConvPair(above, below)))
            self.decoder.append(UpBlock(below, above))

    def forward(self, x: Tensor) -> list[Tensor]:
        height, width = x.shape[2:]
        if height < self.strides[0] or width < self.strides[0]:
            raise InputSizeError(
                f"U-Net cannot take an input of {height} x {width} pixels; "
                f"it needs at least {self.strides[0]} x {self.strides[0]}"
            )
        skips = []
        for level in self.encoder:
            x = level(x)
            skips.append(x)
        features = [skips.pop()]
        for block in reversed(self.decoder):
            features.append(block(skips.pop(), features[-1]))
        return features
