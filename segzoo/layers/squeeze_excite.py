"""Squeeze and excitation: the mean of a feature map scales its channels.

Source: Hu, Shen, Albanie, Sun, Wu, "Squeeze-and-Excitation Networks", CVPR 2018 (https://arxiv.org/abs/1709.01507),
section 3. The published state dicts know two forms, one of 1 x 1 convolutions and one of linear layers.
"""

from __future__ import annotations

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct

__all__ = ["LinearSqueezeExcite", "SqueezeExcite", "make_divisible"]


def make_divisible(value: int, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``value``, or the next one where that loses more than a tenth."""
    nearest = max(divisor, (value + divisor // 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * value else nearest + divisor


def hard_sigmoid() -> nn.Module:
    """The sigmoid's piecewise linear stand-in, x / 6 + 1 / 2 between 0 and 1 (MobileNetV3, section 5.2)."""
    return nn.Hardsigmoid(inplace=True)


class SqueezeExcite(nn.Module):
    """Scales each channel by a factor from 0 to 1; the hidden layer is about ``reduction`` times narrower.

    Shapes: (N, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, *, reduction: int = 4) -> None:
        super().__init__()
        hidden = make_divisible(channels // reduction)
        self.conv1 = ConvNormAct(channels, hidden, norm=None)
        self.conv2 = ConvNormAct(hidden, channels, norm=None, activation=hard_sigmoid)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True)))


class LinearSqueezeExcite(nn.Module):
    """The same of linear layers, with a sigmoid; the hidden layer is ``reduction`` times narrower.

    Shapes: (N, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc(x.mean(dim=(2, 3)))[:, :, None, None]
