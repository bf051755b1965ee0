"""The frame that several heads share: an FCN head with a context block between its two convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from segzoo.heads.fcn import FCNHead

__all__ = ["ContextFCNHead"]


class ContextFCNHead(FCNHead):
    """A convolution, ``context``, a convolution; one more sees the input beside their output."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int | Sequence[int] = -1,
        dropout_ratio: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            num_classes=num_classes,
            channels=channels,
            in_index=in_index,
            num_convs=2,
            dropout_ratio=dropout_ratio,
            align_corners=align_corners,
        )

    def context(self, x: Tensor) -> Tensor:
        """The head's context block, (N, channels, H, W) -> the same."""
        raise NotImplementedError

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        x = self.merge(features)
        out = self.convs[1](self.context(self.convs[0](x)))
        return self.conv_cat(torch.cat([x, out], dim=1))
