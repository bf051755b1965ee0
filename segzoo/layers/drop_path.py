"""Stochastic depth (Huang et al., "Deep Networks with Stochastic Depth", ECCV 2016, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["DropPath", "drop_path_rates"]


class DropPath(nn.Module):
    """Drops a residual branch, for each sample by itself with probability ``p``, in training; rescales the others.

    Shapes: (N, ...) -> the same.
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        kept = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * kept.div_(keep)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def drop_path_rates(last: float, depths: Sequence[int]) -> list[list[float]]:
    """The rate of each block of each stage: from 0 at the first to ``last`` at the last, evenly spaced."""
    steps = max(sum(depths) - 1, 1)
    rates = iter(last * i / steps for i in range(sum(depths)))
    return [[next(rates) for _ in range(depth)] for depth in depths]
