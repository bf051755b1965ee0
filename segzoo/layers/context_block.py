"""The global context block.

Source: Cao, Xu, Lin, Wei, Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCV
Workshops 2019 (https://arxiv.org/abs/1904.11492), section 3.3.
"""

from __future__ import annotations

from torch import Tensor, nn

from segzoo.layers.initial import start_at_zero
from segzoo.layers.position_attention import gather_context

__all__ = ["ContextBlock"]


class ContextBlock(nn.Module):
    """Adds one context to every position: attention pooling, then a bottleneck of ``ratio`` times the channels.

    Starts as the identity: the last convolution is zero.

    Shapes: (N, channels, H, W) -> the same.
    """

    def __init__(self, channels: int, *, ratio: float) -> None:
        super().__init__()
        width = int(channels * ratio)
        self.conv_mask = nn.Conv2d(channels, 1, kernel_size=1)
        last = nn.Conv2d(width, channels, kernel_size=1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=1), nn.LayerNorm([width, 1, 1]), nn.ReLU(inplace=True), last
        )
        nn.init.kaiming_normal_(self.conv_mask.weight, nonlinearity="relu")
        start_at_zero(last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.channel_add_conv(gather_context(x, self.conv_mask(x)))
