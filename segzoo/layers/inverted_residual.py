"""The inverted residual of MobileNetV2 (Sandler et al., section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct, Factory, relu

__all__ = ["InvertedResidual"]


class InvertedResidual(nn.Module):
    """Widen by ``expand_ratio``, convolve depthwise, narrow; the input is added where the shape allows it.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        expand_ratio: int = 6,
        dilation: int = 1,
        activation: Factory = relu,
    ) -> None:
        super().__init__()
        hidden = in_channels * expand_ratio
        self.use_shortcut = stride == 1 and in_channels == out_channels
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(ConvNormAct(in_channels, hidden, activation=activation))
        layers += [
            ConvNormAct(hidden, hidden, 3, stride=stride, dilation=dilation, groups=hidden, activation=activation),
            ConvNormAct(hidden, out_channels, activation=None),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_shortcut else self.conv(x)
