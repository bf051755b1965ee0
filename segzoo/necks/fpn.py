"""FPN: a feature pyramid whose every level also sees the deeper ones.

Paper: Lin, Dollar, Girshick, He, Hariharan, Belongie, "Feature Pyramid Networks for Object Detection", CVPR 2017
(https://arxiv.org/abs/1612.03144), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.layers.conv import ConvNormAct

__all__ = ["FPN"]


class FPN(nn.Module):
    """One feature of ``out_channels`` per input, of the same size.

    A 1 x 1 convolution brings each input to ``out_channels``; from the deepest on, each is enlarged (nearest
    neighbour) and added to the next finer one; a 3 x 3 convolution then smooths each sum. There is neither
    normalisation nor activation.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], *, out_channels: int = 256) -> None:
        super().__init__()
        self.channels = (out_channels,) * len(in_channels)
        self.strides = tuple(in_strides)
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(width, out_channels, norm=None, activation=None) for width in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, norm=None, activation=None) for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        sums = [lateral(feature) for lateral, feature in zip(self.lateral_convs, features, strict=True)]
        for i in range(len(sums) - 2, -1, -1):
            sums[i] = sums[i] + F.interpolate(sums[i + 1], size=sums[i].shape[2:], mode="nearest")
        return [smooth(level) for smooth, level in zip(self.fpn_convs, sums, strict=True)]
