"""Semantic FPN: the sum of all levels of a feature pyramid, each convolved up to the finest size.

Paper: Kirillov, Girshick, He, Dollar, "Panoptic Feature Pyramid Networks", CVPR 2019
(https://arxiv.org/abs/1901.02446), section 3.1. The pyramid itself is the FPN neck.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.resize import resize

__all__ = ["FPNHead"]


class FPNHead(DecodeHead):
    """A convolution and a doubling of the size, as often as a level's stride asks for, then the sum.

    Args:
        feature_strides: stride of each feature that the head uses, each a power of two times the first, which is
            the smallest; as many as ``in_index`` names.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: Sequence[int] = (0, 1, 2, 3),
        feature_strides: Sequence[int] = (4, 8, 16, 32),
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
        )
        self.scale_heads = nn.ModuleList()
        for width, stride in zip(self.in_channels, feature_strides, strict=True):
            doublings = (stride // feature_strides[0]).bit_length() - 1
            layers: list[nn.Module] = []
            for i in range(max(1, doublings)):
                layers.append(ConvNormAct(channels if i else width, channels, 3))
                if doublings:
                    layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=align_corners))
            self.scale_heads.append(nn.Sequential(*layers))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        finest, *others = self.select(features)
        x = self.scale_heads[0](finest)
        for head, feature in zip(list(self.scale_heads)[1:], others, strict=True):
            x = x + resize(head(feature), x.shape[2:], align_corners=self.align_corners)
        return self.classify(x)
