"""MobileNetV2: inverted residuals with linear bottlenecks, here with dilated stages.

Paper: Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018
(https://arxiv.org/abs/1801.04381), section 4, table 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.layers.conv import ConvNormAct
from segzoo.layers.inverted_residual import InvertedResidual

__all__ = ["MobileNetV2"]

# How much wider inside, width, number of blocks: the rows of table 2.
_STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def relu6() -> nn.Module:
    """An in-place ReLU that stops at 6."""
    return nn.ReLU6(inplace=True)


class MobileNetV2(nn.Module):
    """MobileNetV2 up to the last of its seven stages.

    Args:
        strides: stride of the first block of each stage; the stem before them has 2.
        dilations: dilation of the first block of each stage; the blocks after it have none, as published.
        out_indices: the stages whose features are returned.

    Shapes: (N, 3, H, W) -> one (N, channels[i], H / strides[i], W / strides[i]) per out index.
    """

    def __init__(
        self,
        *,
        strides: Sequence[int] = (1, 2, 2, 2, 1, 2, 1),
        dilations: Sequence[int] = (1, 1, 1, 1, 1, 1, 1),
        out_indices: Sequence[int] = (1, 2, 4, 6),
    ) -> None:
        super().__init__()
        self.out_indices = tuple(out_indices)
        in_channels, reduction = 32, 2
        self.conv1 = ConvNormAct(3, in_channels, 3, stride=2, activation=relu6)
        reductions = []
        for i, (expand_ratio, width, count) in enumerate(_STAGES):
            blocks: list[nn.Module] = []
            for j in range(count):
                blocks.append(
                    InvertedResidual(
                        in_channels,
                        width,
                        stride=1 if j else strides[i],
                        expand_ratio=expand_ratio,
                        dilation=1 if j else dilations[i],
                        activation=relu6,
                    )
                )
                in_channels = width
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            reduction *= strides[i]
            reductions.append(reduction)
        self.channels = tuple(_STAGES[i][1] for i in self.out_indices)
        self.strides = tuple(reductions[i] for i in self.out_indices)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.conv1(x)
        features = []
        for i in range(max(self.out_indices) + 1):
            x = getattr(self, f"layer{i + 1}")(x)
            if i in self.out_indices:
                features.append(x)
        return features
