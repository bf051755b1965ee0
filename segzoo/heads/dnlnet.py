"""DNLNet: the non-local block taken apart into a pairwise and a unary term.

Paper: Yin, Yao, Cao, Li, Zhang, Lin, Hu, "Disentangled Non-Local Neural Networks", ECCV 2020
(https://arxiv.org/abs/2006.06668), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segzoo.heads.context_fcn import ContextFCNHead
from segzoo.layers.non_local import DisentangledNonLocal

__all__ = ["DNLHead"]


class DNLHead(ContextFCNHead):
    """A disentangled non-local block between two convolutions, ``channels // reduction`` wide inside."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        reduction: int = 2,
        temperature: float = 0.05,
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
        self.dnl_block = DisentangledNonLocal(channels, reduction=reduction, temperature=temperature)

    def context(self, x: Tensor) -> Tensor:
        return self.dnl_block(x)
