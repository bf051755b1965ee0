"""Attention refinement: a convolution whose channels the mean over the picture gates.

Source: Yu, Wang, Peng, Gao, Yu, Sang, "BiSeNet: Bilateral Segmentation Network for Real-time Semantic Segmentation",
ECCV 2018 (https://arxiv.org/abs/1808.00897), section 3.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct

__all__ = ["AttentionRefinement"]


class AttentionRefinement(nn.Module):
    """A 3 x 3 convolution, each channel scaled by a gate between 0 and 1 that sees the means of all channels.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_layer = ConvNormAct(in_channels, out_channels, 3)
        self.atten_conv_layer = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), ConvNormAct(out_channels, out_channels, activation=None), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_layer(x)
        return x * self.atten_conv_layer(x)
