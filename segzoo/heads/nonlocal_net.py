"""Non-local network: every position sees all others.

Paper: Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018 (https://arxiv.org/abs/1711.07971),
section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segzoo.heads.context_fcn import ContextFCNHead
from segzoo.layers.non_local import NonLocal

__all__ = ["NLHead"]


class NLHead(ContextFCNHead):
    """A non-local block between two convolutions, ``channels // reduction`` wide inside."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        reduction: int = 2,
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
        self.nl_block = NonLocal(channels, reduction=reduction)

    def context(self, x: Tensor) -> Tensor:
        return self.nl_block(x)
