"""Several scales from the features of a plain vision transformer, which all have one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from segzoo.errors import InputSizeError
from segzoo.layers.conv import ConvNormAct

__all__ = ["MultiLevelNeck"]


class MultiLevelNeck(nn.Module):
    """Each feature through a 1 x 1 convolution, a bilinear resize by its own factor, and a 3 x 3 convolution.

    Args:
        in_channels, in_strides: channels and strides of the features.
        out_channels: channels of every output.
        scales: factor by which each feature is enlarged.

    Raises:
        InputSizeError: a feature is too small for its factor.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        *,
        out_channels: int,
        scales: Sequence[float] = (0.5, 1, 2, 4),
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.in_strides = tuple(in_strides)
        self.channels = (out_channels,) * len(self.scales)
        self.strides = tuple(round(stride / scale) for stride, scale in zip(in_strides, scales, strict=True))
        self.lateral_convs = nn.ModuleList(
            ConvNormAct(width, out_channels, norm=None, activation=None) for width in in_channels
        )
        self.convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, norm=None, activation=None) for _ in in_channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        outputs = []
        for i, (lateral, conv) in enumerate(zip(self.lateral_convs, self.convs, strict=True)):
            outputs.append(conv(self.rescale(lateral(features[i]), i)))
        return outputs

    def rescale(self, x: Tensor, i: int) -> Tensor:
        """Feature ``i`` enlarged by its factor."""
        scale = self.scales[i]
        if any(side * scale < 1 for side in x.shape[2:]):
            # The feature needs 1 / scale positions, and the last of them at least one pixel.
            smallest = round(1 / scale - 1) * self.in_strides[i] + 1
            raise InputSizeError(f"a feature has nothing left to halve; pictures are at least {smallest} x {smallest}")
        if scale == 1:
            return x
        # By the factor itself, not by the size that it gives: at odd sizes the positions differ.
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
