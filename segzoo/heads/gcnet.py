"""GCNet: one global context for all positions.

Paper: Cao, Xu, Lin, Wei, Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCV Workshops
2019 (https://arxiv.org/abs/1904.11492), section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from segzoo.heads.context_fcn import ContextFCNHead
from segzoo.layers.context_block import ContextBlock

__all__ = ["GCHead"]


class GCHead(ContextFCNHead):
    """A global context block between two convolutions, with a bottleneck of ``ratio`` times the channels."""

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        channels: int,
        in_index: int = -1,
        ratio: float = 0.25,
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
        self.gc_block = ContextBlock(channels, ratio=ratio)

    def context(self, x: Tensor) -> Tensor:
        return self.gc_block(x)
