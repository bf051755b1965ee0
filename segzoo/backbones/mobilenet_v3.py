"""MobileNetV3: inverted residuals with squeeze and excitation, found by search, here at an output stride of 8.

Paper: Howard, Sandler, Chu, Chen, Chen, Tan, Wang, Zhu, Pang, Vasudevan, Le, Adam, "Searching for MobileNetV3",
ICCV 2019 (https://arxiv.org/abs/1905.02244), sections 5 and 6, tables 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct, relu
from segzoo.layers.same_padding import pad_same
from segzoo.layers.squeeze_excite import SqueezeExcite

__all__ = ["MobileNetV3"]

_norm = partial(nn.BatchNorm2d, eps=1e-3)


class Block(NamedTuple):
    """A row of table 1 or 2."""

    kernel_size: int
    hidden: int
    channels: int
    squeeze: bool
    hard_swish: bool
    stride: int


_SMALL = (
    Block(3, 16, 16, True, False, 2),
    Block(3, 72, 24, False, False, 2),
    Block(3, 88, 24, False, False, 1),
    Block(5, 96, 40, True, True, 2),
    Block(5, 240, 40, True, True, 1),
    Block(5, 240, 40, True, True, 1),
    Block(5, 120, 48, True, True, 1),
    Block(5, 144, 48, True, True, 1),
    Block(5, 288, 96, True, True, 2),
    Block(5, 576, 96, True, True, 1),
    Block(5, 576, 96, True, True, 1),
)
_LARGE = (
    Block(3, 16, 16, False, False, 1),
    Block(3, 64, 24, False, False, 2),
    Block(3, 72, 24, False, False, 1),
    Block(5, 72, 40, True, False, 2),
    Block(5, 120, 40, True, False, 1),
    Block(5, 120, 40, True, False, 1),
    Block(3, 240, 80, False, True, 2),
    Block(3, 200, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 480, 112, True, True, 1),
    Block(3, 672, 112, True, True, 1),
    Block(5, 672, 160, True, True, 2),
    Block(5, 960, 160, True, True, 1),
    Block(5, 960, 160, True, True, 1),
)
# The blocks, and the width of the convolution after them.
_ARCHITECTURES = {"small": (_SMALL, 576), "large": (_LARGE, 960)}


def hard_swish() -> nn.Module:
    """x times its hard sigmoid (section 5.2)."""
    return nn.Hardswish(inplace=True)


class InvertedResidualV3(nn.Module):
    """Widen, convolve depthwise, squeeze and excite, narrow; the input is added where the shape allows it.

    Shapes: (N, in_channels, H, W) -> (N, block.channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, block: Block, *, stride: int, dilation: int) -> None:
        super().__init__()
        hidden, kernel_size = block.hidden, block.kernel_size
        activation = hard_swish if block.hard_swish else relu
        self.kernel_size = kernel_size
        self.stride = stride
        # A block that would halve the size has no shortcut, nor has it where a dilation stands for the stride.
        self.use_shortcut = block.stride == 1 and in_channels == block.channels
        self.expand_conv = None
        if hidden != in_channels:
            self.expand_conv = ConvNormAct(in_channels, hidden, norm=_norm, activation=activation)
        self.depthwise_conv = ConvNormAct(
            hidden,
            hidden,
            kernel_size,
            stride=stride,
            padding=0 if stride > 1 else None,
            dilation=dilation,
            groups=hidden,
            norm=_norm,
            activation=activation,
        )
        self.se = SqueezeExcite(hidden) if block.squeeze else None
        self.linear_conv = ConvNormAct(hidden, block.channels, norm=_norm, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.expand_conv is None else self.expand_conv(x)
        if self.stride > 1:
            out = pad_same(out, self.kernel_size, self.stride)
        out = self.depthwise_conv(out)
        if self.se is not None:
            out = self.se(out)
        out = self.linear_conv(out)
        return x + out if self.use_shortcut else out


class MobileNetV3(nn.Module):
    """MobileNetV3 up to the convolution after its last block; from stride 8 on, dilations stand for the strides.

    Args:
        arch: ``'small'`` or ``'large'``.
        out_indices: the layers whose features are returned: 0 is the stem, then come the 11 or 15 blocks, then the
            last convolution.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(self, *, arch: str, out_indices: Sequence[int]) -> None:
        super().__init__()
        blocks, last = _ARCHITECTURES[arch]
        self.out_indices = tuple(out_indices)
        self.layer0 = ConvNormAct(3, 16, 3, stride=2, padding=0, norm=_norm, activation=hard_swish)
        in_channels, reduction, dilation = 16, 2, 1
        widths, reductions = [in_channels], [reduction]
        for i, block in enumerate(blocks, start=1):
            stride = block.stride
            if stride * reduction > 8:
                stride, dilation = 1, dilation * stride
            setattr(self, f"layer{i}", InvertedResidualV3(in_channels, block, stride=stride, dilation=dilation))
            in_channels, reduction = block.channels, reduction * stride
            widths.append(in_channels)
            reductions.append(reduction)
        final = ConvNormAct(in_channels, last, norm=_norm, activation=hard_swish)
        setattr(self, f"layer{len(blocks) + 1}", final)
        self.channels = tuple([*widths, last][i] for i in self.out_indices)
        self.strides = tuple([*reductions, reduction][i] for i in self.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.layer0(pad_same(x, 3, 2))
        features = [x] if 0 in self.out_indices else []
        for i in range(1, max(self.out_indices) + 1):
            x = getattr(self, f"layer{i}")(x)
            if i in self.out_indices:
                features.append(x)
        return features
