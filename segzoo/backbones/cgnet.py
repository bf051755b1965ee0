"""CGNet: small blocks that see a position, its surroundings, and the whole picture at once.

Paper: Wu, Tang, Zhang, Cao, Zhang, "CGNet: A Light-weight Context Guided Network for Semantic Segmentation", IEEE
Transactions on Image Processing 2021 (https://arxiv.org/abs/1811.08201), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct
from segzoo.layers.squeeze_excite import LinearSqueezeExcite

__all__ = ["CGNet"]

_norm = partial(nn.BatchNorm2d, eps=1e-3)


def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> ConvNormAct:
    return ConvNormAct(
        in_channels,
        out_channels,
        kernel_size,
        stride=stride,
        norm=_norm,
        activation=partial(nn.PReLU, out_channels),
    )


class ContextGuidedBlock(nn.Module):
    """A depthwise convolution and a dilated one beside each other, scaled by the mean of both (section 3.1).

    With ``down`` the block halves the size; otherwise it adds its input.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W').
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, dilation: int, reduction: int, down: bool = False
    ) -> None:
        super().__init__()
        width = out_channels if down else out_channels // 2
        self.down = down
        self.conv1x1 = _conv(in_channels, width, 3, stride=2) if down else _conv(in_channels, width, 1)
        self.f_loc = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.f_sur = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width, bias=False)
        self.bn = _norm(2 * width)
        self.activate = nn.PReLU(2 * width)
        if down:
            self.bottleneck = nn.Conv2d(2 * width, out_channels, 1, bias=False)
        self.f_glo = LinearSqueezeExcite(out_channels, reduction=reduction)

    def context(self, x: Tensor) -> Tensor:
        """The block's features (N, out_channels, H', W') of its reduced input (N, width, H', W')."""
        x = self.activate(self.bn(torch.cat([self.f_loc(x), self.f_sur(x)], dim=1)))
        if self.down:
            x = self.bottleneck(x)  # what it was made from is let go before the picture's mean is taken
        return self.f_glo(x)

    def forward(self, x: Tensor) -> Tensor:
        out = self.context(self.conv1x1(x))
        return out if self.down else x + out


class CGNet(nn.Module):
    """CGNet up to its classifier: three stages, the first two joined by the picture itself, made smaller.

    Args:
        num_channels: width of each stage.
        num_blocks: blocks in the second and the third stage, the first of each halving the size.
        dilations: dilation of the surroundings in these stages.
        reductions: how much narrower than the block its global context is in these stages.
        out_indices: the stages whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        num_channels: Sequence[int] = (32, 64, 128),
        num_blocks: Sequence[int] = (3, 21),
        dilations: Sequence[int] = (2, 4),
        reductions: Sequence[int] = (8, 16),
        out_indices: Sequence[int] = (0, 1, 2),
    ) -> None:
        super().__init__()
        first, second, third = num_channels
        widths = (first + 3, 2 * second + 3, 2 * third)
        self.out_indices = tuple(out_indices)
        self.channels = tuple(widths[i] for i in self.out_indices)
        self.strides = tuple((2, 4, 8)[i] for i in self.out_indices)
        self.stem = nn.Sequential(_conv(3, first, 3, stride=2), _conv(first, first, 3), _conv(first, first, 3))
        self.inject = nn.AvgPool2d(3, stride=2, padding=1)
        self.norm_prelu_0 = nn.Sequential(_norm(widths[0]), nn.PReLU(widths[0]))
        self.level1 = self._level(widths[0], second, num_blocks[0], dilations[0], reductions[0])
        self.norm_prelu_1 = nn.Sequential(_norm(widths[1]), nn.PReLU(widths[1]))
        self.level2 = self._level(widths[1], third, num_blocks[1], dilations[1], reductions[1])
        self.norm_prelu_2 = nn.Sequential(_norm(widths[2]), nn.PReLU(widths[2]))

    @staticmethod
    def _level(in_channels: int, width: int, blocks: int, dilation: int, reduction: int) -> nn.Sequential:
        block = partial(ContextGuidedBlock, dilation=dilation, reduction=reduction)
        return nn.Sequential(block(in_channels, width, down=True), *(block(width, width) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> list[Tensor]:
        half = self.inject(x)
        # A wide stage that is not asked for is let go as soon as the next one's first convolution has read it.
        x = self.norm_prelu_0(torch.cat([self.stem(x), half], dim=1))
        features = [x] if 0 in self.out_indices else []
        x = _first(self.level1).conv1x1(x)
        x = _first(self.level1).context(x)
        x = self.norm_prelu_1(torch.cat([self.level1[1:](x), x, self.inject(half)], dim=1))
        features += [x] if 1 in self.out_indices else []
        x = _first(self.level2).conv1x1(x)
        x = _first(self.level2).context(x)
        x = self.norm_prelu_2(torch.cat([x, self.level2[1:](x)], dim=1))
        return [*features, x] if 2 in self.out_indices else features


def _first(level: nn.Sequential) -> ContextGuidedBlock:
    block = level[0]
    assert isinstance(block, ContextGuidedBlock)
    return block
