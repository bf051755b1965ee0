"""Convolution, normalisation, activation: the unit that every network here is made of.

Sub-modules are named as in the published state dicts: ``conv`` and ``bn``; ``depthwise_conv`` and ``pointwise_conv``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["ConvNormAct", "DepthwiseSeparableConv", "Factory", "relu"]

Factory = Callable[..., nn.Module]


def relu() -> nn.Module:
    """An in-place ReLU, the default activation."""
    return nn.ReLU(inplace=True)


class ConvNormAct(nn.Module):
    """Convolution, then normalisation, then activation; either of the latter may be None.

    The convolution has a bias exactly when there is no normalisation, unless ``bias`` says otherwise. ``padding``
    None keeps the size at stride 1 (``dilation * (kernel_size - 1) / 2``).

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W').
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        padding: int | None = None,
        dilation: int = 1,
        groups: int = 1,
        bias: bool | None = None,
        norm: Factory | None = nn.BatchNorm2d,
        activation: Factory | None = relu,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=dilation * (kernel_size // 2) if padding is None else padding,
            dilation=dilation,
            groups=groups,
            bias=norm is None if bias is None else bias,
        )
        if norm is not None:
            self.bn = norm(out_channels)
        self.has_norm = norm is not None
        self.activate = None if activation is None else activation()

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.has_norm:
            x = self.bn(x)
        return x if self.activate is None else self.activate(x)


class DepthwiseSeparableConv(nn.Module):
    """A depthwise convolution, then a pointwise one (Howard et al., MobileNets, section 3.1), each with its norm.

    ``pointwise_norm`` and ``activation`` follow the pointwise convolution; either may be None.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W').
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        depthwise_activation: Factory | None = relu,
        pointwise_norm: Factory | None = nn.BatchNorm2d,
        activation: Factory | None = relu,
    ) -> None:
        super().__init__()
        self.depthwise_conv = ConvNormAct(
            in_channels,
            in_channels,
            kernel_size,
            stride=stride,
            dilation=dilation,
            groups=in_channels,
            activation=depthwise_activation,
        )
        self.pointwise_conv = ConvNormAct(in_channels, out_channels, norm=pointwise_norm, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise_conv(self.depthwise_conv(x))
