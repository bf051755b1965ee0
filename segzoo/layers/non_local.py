"""The non-local block, and the disentangled one.

Sources: Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018 (https://arxiv.org/abs/1711.07971),
sections 3.2 and 3.3; Yin et al., "Disentangled Non-Local Neural Networks", ECCV 2020
(https://arxiv.org/abs/2006.06668), section 4.
"""

from __future__ import annotations

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct
from segzoo.layers.initial import start_at_zero
from segzoo.layers.position_attention import attend_positions, gather_context

__all__ = ["DisentangledNonLocal", "NonLocal"]


class NonLocal(nn.Module):
    """Embedded Gaussian: every position adds what it gathers from all, ``channels // reduction`` wide inside.

    Starts as the identity: the norm after the last convolution is zero.

    Shapes: (N, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, *, reduction: int = 2) -> None:
        super().__init__()
        width = channels // reduction
        self.g = ConvNormAct(channels, width, norm=None, activation=None)
        self.theta = ConvNormAct(channels, width, norm=None, activation=None)
        self.phi = ConvNormAct(channels, width, norm=None, activation=None)
        self.conv_out = ConvNormAct(width, channels, activation=None)
        for projection in (self.g, self.theta, self.phi):
            start_at_zero(projection)
            nn.init.normal_(projection.conv.weight, std=0.01)
        start_at_zero(self.conv_out.bn)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_out(attend_positions(self.theta(x), self.phi(x), self.g(x)))


class DisentangledNonLocal(NonLocal):
    """Attention between whitened positions, and beside it one context that all positions share.

    ``temperature`` sharpens the former.
    """

    def __init__(self, channels: int, *, reduction: int = 2, temperature: float = 0.05) -> None:
        super().__init__(channels, reduction=reduction)
        self.conv_mask = nn.Conv2d(channels, 1, kernel_size=1)
        self.scale = 1.0 / (temperature * (channels // reduction) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        value = self.g(x)
        query, key = (y - y.mean(dim=(2, 3), keepdim=True) for y in (self.theta(x), self.phi(x)))
        pairwise = attend_positions(query, key, value, scale=self.scale)
        unary = gather_context(value, self.conv_mask(x))
        return x + self.conv_out(pairwise + unary)
