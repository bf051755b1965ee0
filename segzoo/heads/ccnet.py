"""CCNet: attention along the row and the column, twice, so that every position sees all others.

Paper: Huang, Wang, Huang, Huang, Wei, Liu, "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019
(https://arxiv.org/abs/1811.11721), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segzoo.heads.context_fcn import ContextFCNHead
from segzoo.layers.criss_cross import CrissCrossAttention

__all__ = ["CCHead"]


class CCHead(ContextFCNHead):
    """Criss-cross attention between two convolutions, applied ``recurrence`` times with the same weights."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        recurrence: int = 2,
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
        self.recurrence = recurrence
        self.cca = CrissCrossAttention(channels)

    def context(self, x: Tensor) -> Tensor:
        for _ in range(self.recurrence):
            x = self.cca(x)
        return x
