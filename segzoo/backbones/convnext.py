"""ConvNeXt: a convolutional network with the design of a hierarchical vision transformer.

Paper: Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for the 2020s", CVPR 2022
(https://arxiv.org/abs/2201.03545), section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.errors import InputSizeError
from segzoo.layers.drop_path import DropPath, drop_path_rates
from segzoo.layers.norm import LayerNorm2d

__all__ = ["ConvNeXt"]

NORM_EPS = 1e-6


class Block(nn.Module):
    """A 7 x 7 depthwise convolution, a norm, two linear layers of each position, a learned scale of each channel."""

    def __init__(self, channels: int, *, drop_path: float, layer_scale: float) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), layer_scale))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.depthwise_conv(x).permute(0, 2, 3, 1))
        out = self.gamma * self.pointwise_conv2(F.gelu(self.pointwise_conv1(out)))
        return x + self.drop_path(out.permute(0, 3, 1, 2))


class ConvNeXt(nn.Module):
    """ConvNeXt: patches of 4 x 4 pixels, four stages of blocks, each but the first at half the size.

    Args:
        depths: blocks of each stage.
        dims: channels of each stage.
        drop_path_rate: probability of dropping the last block, in training; it rises evenly from 0 at the first.
        layer_scale: initial value of the learned scales.
        out_indices: the stages whose features are returned, each through a norm of its own.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H // strides[i], W // strides[i]) per out index.

    Raises:
        InputSizeError: a side of the input is shorter than the last stage's stride, 32.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int],
        dims: Sequence[int],
        drop_path_rate: float = 0.0,
        layer_scale: float = 1.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        self.channels = tuple(dims[i] for i in self.out_indices)
        self.strides = tuple(4 * 2**i for i in self.out_indices)
        self.downsample_layers = nn.ModuleList(
            [nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), LayerNorm2d(dims[0], eps=NORM_EPS))]
        )
        self.stages = nn.ModuleList()
        for i, rates in enumerate(drop_path_rates(drop_path_rate, depths)):
            if i > 0:
                norm, conv = LayerNorm2d(dims[i - 1], eps=NORM_EPS), nn.Conv2d(dims[i - 1], dims[i], 2, stride=2)
                self.downsample_layers.append(nn.Sequential(norm, conv))
            self.stages.append(
                nn.Sequential(*(Block(dims[i], drop_path=rate, layer_scale=layer_scale) for rate in rates))
            )
            setattr(self, f"norm{i}", LayerNorm2d(dims[i], eps=NORM_EPS))
        self.apply(init_weights)

    def forward(self, x: Tensor) -> list[Tensor]:
        height, width = x.shape[2:]
        if height < 32 or width < 32:
            raise InputSizeError(
                f"ConvNeXt cannot take an input of {height} x {width} pixels; it needs at least 32 x 32"
            )
        features = []
        for i in range(max(self.out_indices) + 1):
            x = self.stages[i](self.downsample_layers[i](x))
            if i in self.out_indices:
                features.append(getattr(self, f"norm{i}")(x))
        return features


def init_weights(module: nn.Module) -> None:
    """Initialises as the paper does (appendix A): a truncated normal of deviation 0.02, no bias."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
