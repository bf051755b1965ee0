"""DANet: attention between positions and, beside it, between channels.

Paper: Fu, Liu, Tian, Li, Bao, Fang, Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019
(https://arxiv.org/abs/1809.02983), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from segzoo.heads.base import DecodeHead
from segzoo.layers.channel_attention import ChannelAttention
from segzoo.layers.conv import ConvNormAct
from segzoo.layers.position_attention import PositionAttention
from segzoo.layers.scale import Scale

__all__ = ["DAHead", "ScaledPositionAttention"]


class ScaledPositionAttention(PositionAttention):
    """Adds what the positions gather by a learned factor that starts at zero; products are not scaled down."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            query_project=nn.Conv2d(channels, width, kernel_size=1),
            key_project=nn.Conv2d(channels, width, kernel_size=1),
            value_project=nn.Conv2d(channels, channels, kernel_size=1),
            scale=1.0,
        )
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        return x + self.gamma(super().forward(x, source))


class DAHead(DecodeHead):
    """Two branches, one a kind of attention, and the classifier of their sum.

    Each branch has a classifier too (``pam_conv_seg``, ``cam_conv_seg``), which only the training loss uses.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        pam_channels: int = 64,
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
        (width,) = self.in_channels
        self.pam_in_conv = ConvNormAct(width, channels, 3)
        self.pam = ScaledPositionAttention(channels, pam_channels)
        self.pam_out_conv = ConvNormAct(channels, channels, 3)
        self.pam_conv_seg = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.cam_in_conv = ConvNormAct(width, channels, 3)
        self.cam = ChannelAttention()
        self.cam_out_conv = ConvNormAct(channels, channels, 3)
        self.cam_conv_seg = nn.Conv2d(channels, num_classes, kernel_size=1)

    def branches(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The features of the position branch and of the channel branch, each (N, channels, H, W)."""
        x = self.merge(features)
        by_position = self.pam_in_conv(x)
        by_position = self.pam_out_conv(self.pam(by_position, by_position))
        by_channel = self.cam_out_conv(self.cam(self.cam_in_conv(x)))
        return by_position, by_channel

    def branch_logits(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the sum, of the position branch and of the channel branch; the training loss takes all three."""
        by_position, by_channel = self.branches(features)
        return (
            self.classify(by_position + by_channel),
            self.pam_conv_seg(self.dropout(by_position)),
            self.cam_conv_seg(self.dropout(by_channel)),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        by_position, by_channel = self.branches(features)
        return self.classify(by_position + by_channel)
