"""Several scales from the features of a plain vision transformer, by transposed convolutions and a pooling.

Source: Bao, Dong, Piao, Wei, "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022
(https://arxiv.org/abs/2106.08254), appendix on semantic segmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["Feature2Pyramid"]


class Feature2Pyramid(nn.Module):
    """Four features of one stride, the first enlarged by 4, the second by 2, and the last halved.

    Args:
        in_channels, in_strides: channels and strides of the four features.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int]) -> None:
        super().__init__()
        first, second = in_channels[:2]
        self.channels = tuple(in_channels)
        scales = (4.0, 2.0, 1.0, 0.5)
        self.strides = tuple(round(stride / scale) for stride, scale in zip(in_strides, scales, strict=True))
        self.upsample_4x = nn.Sequential(
            nn.ConvTranspose2d(first, first, 2, stride=2),
            nn.BatchNorm2d(first),
            nn.GELU(),
            nn.ConvTranspose2d(first, first, 2, stride=2),
        )
        self.upsample_2x = nn.Sequential(nn.ConvTranspose2d(second, second, 2, stride=2))
        self.downsample_2x = nn.MaxPool2d(2)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        first, second, third, last = features
        return [self.upsample_4x(first), self.upsample_2x(second), third, self.downsample_2x(last)]
